//! The poll: the shards that have work.

use std::collections::BTreeMap;
use std::sync::Arc;

use bento_core::outbox::ShardId;
use bento_relay::store::StoreError;
use sea_orm::ConnectionTrait;

use super::OutboxStore;
use super::errors::store_error;
use super::held::exists_due;
use crate::dialect::{Dialect, Sql};

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
pub(super) fn statement(
    store: &OutboxStore,
    dialect: &'static dyn Dialect,
    shards: &[ShardId],
    without: &[Arc<str>],
) -> Sql {
    let tables = &store.tables;
    let sql = Sql::new(
        dialect,
        &format!("SELECT s.shard FROM {} s WHERE s.shard", tables.shard()),
    );
    let sql = has_pending(sql.one_of(numbers(shards)).push(" AND ("), store, shards);
    let sql = is_of_another_history(sql, store, dialect, shards);
    let mut unknown = Vec::new();
    let sql = shards.iter().fold(sql, |sql, &shard| {
        match store.memory.quiet(shard, without) {
            // However many wait for a route that is away or a tenant that is paused, nobody has to
            // look at them.
            Some((epoch, revision)) => {
                let sql = sql
                    .push(" OR (s.shard = ")
                    .bind(shard)
                    .push(" AND (s.epoch <> ")
                    .bind(epoch);
                sql.push(" OR s.revision <> ").bind(revision).push("))")
            }
            None => {
                unknown.push(shard);
                sql
            }
        }
    });
    let sql = sql.when(!unknown.is_empty(), |sql| {
        let sql = sql
            .push(" OR (s.shard")
            .one_of(numbers(&unknown))
            .push(" AND ");
        exists_due(sql, dialect, tables, without).push(")")
    });
    sql.push(")")
}

/// Appends the condition that a shard has pending rows. The ORDER BY makes the planner use the
/// index, also where it takes the table to be almost empty, or to hold a single shard.
fn has_pending(sql: Sql, store: &OutboxStore, shards: &[ShardId]) -> Sql {
    let outbox = store.tables.outbox();
    let sql = sql.push(&format!(
        "(SELECT o.position FROM {outbox} o WHERE o.shard = s.shard"
    ));
    let floors: Vec<_> = shards
        .iter()
        .map(|&shard| (shard, store.memory.floor(shard)))
        .collect();
    let sql = sql.when(floors.iter().any(|(_, floor)| *floor > 0), |sql| {
        let when = |sql: Sql, (shard, floor): (ShardId, i64)| {
            sql.push(" WHEN ").bind(shard).push(" THEN ").bind(floor)
        };
        floors
            .into_iter()
            .fold(sql.push(" AND o.position > CASE s.shard"), when)
            .push(" END")
    });
    sql.push(" ORDER BY o.position LIMIT 1) IS NOT NULL")
}

/// Appends the condition that the database has another history than the one that the store
/// remembers.
fn is_of_another_history(
    sql: Sql,
    store: &OutboxStore,
    dialect: &'static dyn Dialect,
    shards: &[ShardId],
) -> Sql {
    let Some(history) = dialect.history(&store.tables) else {
        return sql;
    };
    let mut known = BTreeMap::<i64, Vec<ShardId>>::new();
    for &shard in shards {
        if let Some(history) = store.memory.history(shard) {
            known.entry(history).or_default().push(shard);
        }
    }
    let sql = known.into_iter().fold(sql, |sql, (known, shards)| {
        let sql = sql.push(&format!(" OR ({history} <> ")).bind(known);
        sql.push(" AND s.shard").one_of(numbers(&shards)).push(")")
    });
    positions_went_back(sql, store, dialect, shards)
}

/// Appends the condition that positions went back, so that rows may appear below every bound. One
/// number for all shards is enough: a shard that is called for nothing finds no rows, and the shard
/// that saw the largest position forgets it.
fn positions_went_back(
    sql: Sql,
    store: &OutboxStore,
    dialect: &'static dyn Dialect,
    shards: &[ShardId],
) -> Sql {
    let seen = shards
        .iter()
        .filter_map(|&shard| store.memory.seen(shard))
        .max();
    match dialect.last_position(&store.tables).zip(seen) {
        Some((last_position, seen)) => sql.push(&format!(" OR {last_position} < ")).bind(seen),
        None => sql,
    }
}

fn numbers(shards: &[ShardId]) -> Vec<i64> {
    shards.iter().copied().map(i64::from).collect()
}
