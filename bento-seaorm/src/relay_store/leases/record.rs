//! The rows that relays need: the record of the sharding, and one row for each shard.
//!
//! The tables may be cleared while a relay runs, or dropped and migrated again. So every heartbeat
//! creates missing rows again.

use bento_core::outbox::{ShardId, Sharding};
use bento_relay::store::StoreError;
use bento_relay::telemetry::TARGET_RELAY;
use sea_orm::{ConnectionTrait, DbErr, QueryResult};

use crate::dialect::{Sql, binds};
use crate::outbox::meta;
use crate::relay_store::errors::{StoreFailure, sharding_error};
use crate::relay_store::{OutboxStore, publishing, store_error};

/// The number of shards that one statement records.
const SHARDS_PER_STATEMENT: usize = 1000;

/// Reads how the outbox is divided, or records it, and sees to it that every shard has a row.
pub(super) async fn open(store: &OutboxStore) -> Result<Sharding, StoreError> {
    let dialect = store.dialect()?;
    let failed = |error| store_error(dialect.backend(), error);
    dialect.warn_of_pooler(&store.db).await.map_err(failed)?;
    let recorded = meta::read_or_record(&store.db, &store.tables, &store.expected)
        .await
        .map_err(sharding_error)?;
    let known = shards(store).await.map_err(failed)?;
    record_missing(store, 0..recorded.sharding.total(), &known)
        .await
        .map_err(failed)?;
    dialect
        .warn_unless_durable(&store.db)
        .await
        .map_err(failed)?;
    *store.recorded() = Some(recorded.sharding);
    Ok(recorded.sharding)
}

/// Reads the record once more: a sharding that has changed is refused, one that is gone is recorded
/// again, and so is that relays publish. Returns the shards outside of the sharding that hold
/// events.
pub(super) async fn look(
    store: &OutboxStore,
    sharding: Sharding,
    publishes: bool,
) -> Result<Vec<ShardId>, StoreFailure> {
    let select = format!(
        "SELECT {}, (SELECT MAX(shard) FROM {{outbox}}), (SELECT MAX(shard) FROM {{held}}), \
         publishes FROM {{meta}} WHERE id = 1",
        meta::COLUMNS
    );
    let select = Sql::new(store.dialect()?, &store.tables, &select, []);
    let Some(row) = store.db.query_one_raw(select.build()).await? else {
        tracing::warn!(
            target: TARGET_RELAY,
            table = store.tables.meta(),
            "the record of the sharding was missing and is written again",
        );
        store.handlers.may_be_lost();
        let expected = meta::Expected {
            sharding: Some(sharding),
            ..store.expected.clone()
        };
        meta::read_or_record(&store.db, &store.tables, &expected)
            .await
            .map_err(sharding_error)?;
        publishing::check(store, false, publishes).await?;
        return Ok(Vec::new());
    };
    let recorded = meta::recorded_at(&row, &store.tables).map_err(sharding_error)?;
    let expected = meta::Expected {
        sharding: Some(sharding),
        ..store.expected.clone()
    };
    expected.check(&recorded).map_err(sharding_error)?;
    publishing::check(store, row.try_get_by_index(6)?, publishes).await?;
    let last = |column| row.try_get_by_index::<Option<ShardId>>(column);
    if last(4)?
        .max(last(5)?)
        .is_none_or(|last| last < sharding.total())
    {
        return Ok(Vec::new());
    }
    stray(store, sharding).await
}

async fn stray(store: &OutboxStore, sharding: Sharding) -> Result<Vec<ShardId>, StoreFailure> {
    let select = Sql::new(
        store.dialect()?,
        &store.tables,
        "SELECT shard FROM {outbox} WHERE shard >= ? \
         UNION SELECT shard FROM {held} WHERE shard >= ? ORDER BY shard",
        binds![sharding.total(), sharding.total()],
    );
    let rows = store.db.query_all_raw(select.build()).await?;
    let stray = rows
        .iter()
        .map(|row| row.try_get_by_index(0))
        .collect::<Result<Vec<ShardId>, DbErr>>()?;
    let known = shards(store).await?;
    record_missing(store, stray.iter().copied(), &known).await?;
    Ok(stray)
}

async fn shards(store: &OutboxStore) -> Result<Vec<ShardId>, DbErr> {
    let dialect = store
        .dialect()
        .map_err(|error| DbErr::Custom(error.to_string()))?;
    let select = Sql::new(
        dialect,
        &store.tables,
        "SELECT shard FROM {shard} ORDER BY shard",
        [],
    );
    let rows = store.db.query_all_raw(select.build()).await?;
    rows.iter()
        .map(|row: &QueryResult| row.try_get_by_index(0))
        .collect()
}

/// Every shard has a row from the beginning, so that claiming one is an update. Returns how many
/// were missing of those that are `known`, which are in order.
pub(super) async fn record_missing(
    store: &OutboxStore,
    wanted: impl IntoIterator<Item = ShardId>,
    known: &[ShardId],
) -> Result<usize, DbErr> {
    let dialect = store
        .dialect()
        .map_err(|error| DbErr::Custom(error.to_string()))?;
    let table = store.tables.shard();
    let missing: Vec<_> = wanted
        .into_iter()
        .filter(|shard| known.binary_search(shard).is_err())
        .collect();
    for some in missing.chunks(SHARDS_PER_STATEMENT) {
        let rows: Vec<_> = some.iter().map(|shard| format!("({shard})")).collect();
        let end = dialect.or_leave(table, &["shard"]);
        store
            .db
            .execute_unprepared(&format!(
                "INSERT INTO {table} (shard) VALUES {}{end}",
                rows.join(", ")
            ))
            .await?;
    }
    Ok(missing.len())
}
