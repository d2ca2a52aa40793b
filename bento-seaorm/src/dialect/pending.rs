//! Pending rows that leave the outbox.

use bento_core::outbox::ShardId;
use sea_orm::{ConnectionTrait as _, DbErr};

use super::{Dialect, Sql, any_of, binds};
use crate::session::StoreTransaction;
use crate::tables::Tables;

/// Deletes rows of the outbox or moves them to the published ones, where the statement that renews
/// the lease cannot do so.
pub(super) async fn settle_published(
    tx: &StoreTransaction,
    dialect: &'static dyn Dialect,
    tables: &Tables,
    shard: ShardId,
    positions: Vec<i64>,
    keep: bool,
) -> Result<(), DbErr> {
    if positions.is_empty() {
        return Ok(());
    }
    if keep {
        let keep = keep_pending(dialect, tables, shard, positions.clone());
        tx.execute_raw(keep.build()).await?;
    }
    let delete = delete_pending(dialect, tables, shard, positions);
    tx.execute_raw(delete.build()).await?;
    Ok(())
}

/// The copying of pending rows to the published ones, each event once.
pub(crate) fn keep_pending<'a>(
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    shard: ShardId,
    positions: Vec<i64>,
) -> Sql<'a> {
    Sql::new(
        dialect,
        tables,
        "INSERT INTO {published} (shard, position, {event}, published_at) \
         SELECT shard, position, {event}, {now} FROM {outbox} WHERE shard = ? AND position IN (?)",
        binds![shard, any_of(positions)],
    )
    .or_leave(tables.published(), &["event_id"])
}

/// The deletion of pending rows.
pub(crate) fn delete_pending<'a>(
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    shard: ShardId,
    positions: Vec<i64>,
) -> Sql<'a> {
    Sql::new(
        dialect,
        tables,
        "DELETE FROM {outbox} WHERE shard = ? AND position IN (?)",
        binds![shard, any_of(positions)],
    )
}
