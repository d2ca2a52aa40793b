//! The poll: the shards that have work.

use std::collections::BTreeMap;
use std::sync::Arc;

use bento_core::outbox::ShardId;
use bento_relay::store::StoreError;
use sea_orm::ConnectionTrait;

use super::OutboxStore;
use super::errors::store_error;
use super::held::exists_due;
use crate::dialect::{Dialect, Sql, any_of, binds};

/// The number of shards that one statement asks about.
const SHARDS_PER_STATEMENT: usize = 100;

/// Returns the shards that have work. It may find rows that are being published already; it never
/// misses one.
pub(super) async fn poll(
    store: &OutboxStore,
    shards: &[ShardId],
    without: &[Arc<str>],
) -> Result<Vec<ShardId>, StoreError> {
    let dialect = store.dialect()?;
    let mut with_work = Vec::new();
    for shards in shards.chunks(SHARDS_PER_STATEMENT) {
        let rows = store
            .db
            .query_all_raw(statement(store, dialect, shards, without).build())
            .await;
        let found = rows.and_then(|rows| {
            rows.iter()
                .map(|row| row.try_get_by_index::<ShardId>(0))
                .collect::<Result<Vec<_>, _>>()
        });
        with_work.extend(found.map_err(|error| store_error(dialect.backend(), error))?);
    }
    Ok(with_work)
}

/// One row source for all shards: a plan for each of them would cost the database more than the
/// rows it looks at.
pub(super) fn statement<'a>(
    store: &'a OutboxStore,
    dialect: &'static dyn Dialect,
    shards: &[ShardId],
    without: &[Arc<str>],
) -> Sql<'a> {
    let sql = Sql::new(
        dialect,
        &store.tables,
        "SELECT s.shard FROM {shard} s WHERE s.shard IN (?) AND (",
        binds![any_of(numbers(shards))],
    );
    let sql = has_pending(sql, store, shards);
    let mut sql = is_of_another_history(sql, store, dialect, shards);
    let mut unknown = Vec::new();
    for &shard in shards {
        match store.memory.quiet(shard, without) {
            // The held rows are looked at only after they changed, however many of them wait for
            // an unavailable route or a paused tenant.
            Some((epoch, revision)) => {
                sql = sql.then(
                    " OR (s.shard = ? AND (s.epoch <> ? OR s.revision <> ?))",
                    binds![shard, epoch, revision],
                );
            }
            None => unknown.push(shard),
        }
    }
    if !unknown.is_empty() {
        let unknown = binds![any_of(numbers(&unknown))];
        sql = exists_due(sql.then(" OR (s.shard IN (?) AND ", unknown), without).then(")", []);
    }
    sql.then(")", [])
}

/// Appends the condition that a shard has pending rows. The ORDER BY makes the planner use the
/// index, also where it takes the table to be almost empty, or to hold a single shard.
fn has_pending<'a>(sql: Sql<'a>, store: &OutboxStore, shards: &[ShardId]) -> Sql<'a> {
    let mut sql = sql.then(
        "(SELECT o.position FROM {outbox} o WHERE o.shard = s.shard",
        [],
    );
    let floors: Vec<_> = shards
        .iter()
        .map(|&shard| (shard, store.memory.floor(shard)))
        .collect();
    if floors.iter().any(|(_, floor)| *floor > 0) {
        let cases = " WHEN ? THEN ?".repeat(floors.len());
        let cases = format!(" AND o.position > CASE s.shard{cases} END");
        let binds = floors
            .into_iter()
            .flat_map(|(shard, floor)| binds![shard, floor]);
        sql = sql.then(&cases, binds);
    }
    sql.then(" ORDER BY o.position LIMIT 1) IS NOT NULL", [])
}

/// Appends the condition that the database has another history than the one that the store
/// remembers.
fn is_of_another_history<'a>(
    mut sql: Sql<'a>,
    store: &OutboxStore,
    dialect: &'static dyn Dialect,
    shards: &[ShardId],
) -> Sql<'a> {
    let Some(history) = dialect.history(&store.tables) else {
        return sql;
    };
    let mut known = BTreeMap::<i64, Vec<ShardId>>::new();
    for &shard in shards {
        if let Some(history) = store.memory.history(shard) {
            known.entry(history).or_default().push(shard);
        }
    }
    for (known, shards) in known {
        sql = sql.then(
            &format!(" OR ({history} <> ? AND s.shard IN (?))"),
            binds![known, any_of(numbers(&shards))],
        );
    }
    positions_went_back(sql, store, dialect, shards)
}

/// Appends the condition that positions went back, so that rows may appear below every bound. One
/// number for all shards is enough: a shard that is called for nothing finds no rows, and the shard
/// that saw the largest position forgets it.
fn positions_went_back<'a>(
    sql: Sql<'a>,
    store: &OutboxStore,
    dialect: &'static dyn Dialect,
    shards: &[ShardId],
) -> Sql<'a> {
    let seen = shards
        .iter()
        .filter_map(|&shard| store.memory.seen(shard))
        .max();
    match dialect.last_position(&store.tables).zip(seen) {
        Some((last_position, seen)) => sql.then(&format!(" OR {last_position} < ?"), binds![seen]),
        None => sql,
    }
}

fn numbers(shards: &[ShardId]) -> Vec<i64> {
    shards.iter().copied().map(i64::from).collect()
}
