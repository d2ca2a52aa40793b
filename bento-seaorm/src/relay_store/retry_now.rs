//! Held rows that an operator makes due now.
//!
//! The change locks the leases of its shards, in the order of the shards, and raises their
//! revisions: each relay has either settled its rows before, or sees the change in its next call.

use bento_core::outbox::ShardId;
use bento_relay::held::{HeldEvents, HeldFilter};
use bento_relay::store::StoreError;
use sea_orm::{ConnectionTrait, DbErr};

use super::OutboxStore;
use super::errors::{StoreFailure, retrying};
use crate::dialect::{Bind, Dialect, Sql, any_of, binds};
use crate::session::StoreTransaction;
use crate::tables::Tables;

impl HeldEvents for OutboxStore {
    async fn retry_now(&self, filter: &HeldFilter) -> Result<u64, StoreError> {
        retrying(self.db().get_database_backend(), || {
            ended_once(self, filter)
        })
        .await
    }
}

async fn ended_once(store: &OutboxStore, filter: &HeldFilter) -> Result<u64, StoreFailure> {
    let (tx, dialect) = store.begin().await?;
    let ending = Ending {
        tx: &tx,
        dialect,
        tables: store.tables(),
        filter,
    };
    let shards = ending.shards().await?;
    if shards.is_empty() {
        tx.rollback().await?;
        return Ok(0);
    }
    ending.tell(shards.clone()).await?;
    let ended = ending.end(shards).await?;
    tx.commit().await?;
    Ok(ended)
}

/// The change and its transaction.
struct Ending<'a> {
    tx: &'a StoreTransaction,
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    filter: &'a HeldFilter,
}

impl Ending<'_> {
    /// The shards in which a chosen row waits. Rows that are held later are not chosen.
    async fn shards(&self) -> Result<Vec<i64>, DbErr> {
        let select = self.sql("SELECT DISTINCT shard FROM {held} WHERE ", []);
        let rows = self.tx.query_all_raw(self.chosen(select).build()).await?;
        rows.iter()
            .map(|row| row.try_get_by_index::<ShardId>(0).map(i64::from))
            .collect()
    }

    async fn tell(&self, shards: Vec<i64>) -> Result<(), DbErr> {
        let raise = self
            .dialect
            .update_shards("revision = revision + 1", "shard IN (?)");
        let raise = self.sql(&raise, binds![any_of(shards)]);
        self.tx.execute_raw(raise.build()).await?;
        Ok(())
    }

    async fn end(&self, shards: Vec<i64>) -> Result<u64, DbErr> {
        let update = self.sql(
            "UPDATE {held} SET retry_after = {now} WHERE shard IN (?) AND ",
            binds![any_of(shards)],
        );
        let ended = self.tx.execute_raw(self.chosen(update).build()).await?;
        Ok(ended.rows_affected())
    }

    /// Appends the condition that a row waits and is chosen. A row without a time waits for another
    /// row, so it is left alone.
    fn chosen<'s>(&self, sql: Sql<'s>) -> Sql<'s> {
        let HeldFilter {
            route,
            tenant_id,
            aggregate,
            ..
        } = self.filter;
        let aggregate = aggregate.as_ref();
        let asked = [
            (" AND route = ?", route.as_ref()),
            (" AND tenant_id = ?", tenant_id.as_ref()),
            (" AND aggregate_type = ?", aggregate.map(|(kind, _)| kind)),
            (" AND aggregate_id = ?", aggregate.map(|(_, id)| id)),
        ];
        let waiting = sql.then("retry_after > {now_once}", []);
        asked
            .into_iter()
            .fold(waiting, |sql, (condition, asked)| match asked {
                Some(asked) => sql.then(condition, binds![asked.as_str()]),
                None => sql,
            })
    }

    fn sql(&self, text: &str, binds: impl IntoIterator<Item = Bind>) -> Sql<'_> {
        Sql::new(self.dialect, self.tables, text, binds)
    }
}
