//! Changes that concern every shard.
//!
//! They lock every lease, in the order of the shards, and raise every revision: each relay has
//! either settled its rows before, or sees the change in its next call.

use sea_orm::{ConnectionTrait, DbErr};

use crate::dialect::{Dialect, Sql};
use crate::session::StoreTransaction;
use crate::tables::Tables;

/// Locks every lease, until the transaction ends.
pub(crate) async fn lock(
    tx: &StoreTransaction,
    dialect: &'static dyn Dialect,
    tables: &Tables,
) -> Result<(), DbErr> {
    let select = "SELECT shard FROM {shard} ORDER BY shard{lock_rows}";
    let select = Sql::new(dialect, tables, select, []);
    tx.query_all_raw(select.build()).await?;
    Ok(())
}

/// Raises every revision.
pub(crate) async fn tell(
    tx: &StoreTransaction,
    dialect: &'static dyn Dialect,
    tables: &Tables,
) -> Result<(), DbErr> {
    let update = "UPDATE {shard} SET revision = revision + 1";
    let update = Sql::new(dialect, tables, update, []);
    tx.execute_raw(update.build()).await?;
    Ok(())
}
