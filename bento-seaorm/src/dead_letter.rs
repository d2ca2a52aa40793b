//! Dead letters in the database: list, amend, replay, discard, alert.
//!
//! Amending, replaying and discarding first lock the lease of the shard and raise its revision:
//! they exclude each other and the relay, which sees the change in its next call. They do not touch
//! the outbox.

use std::sync::Arc;

use bento_core::id::EventId;
use bento_core::outbox::ShardId;
use bento_relay::dead_letter::{
    Amendment, DeadLetter, DeadLetterFilter, DeadLetterKey, DeadLetterQuery, DeadLetters,
    DiscardedDeadLetter, Discarding, Replayed, ShardCursor,
};
use bento_relay::store::StoreError;
use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use uuid::Uuid;

pub(crate) use self::removal::replay_in;
use self::removal::{Fate, removed};
use crate::dialect::{Dialect, Sql, binds};
use crate::relay_store::{OutboxStore, store_error};
use crate::session::StoreTransaction;
use crate::tables::Tables;

mod alerts;
mod amending;
mod own_key;
mod removal;
mod select;

impl DeadLetters for OutboxStore {
    async fn list(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        let select = select::list(self.dialect()?, self.tables(), query);
        self.rows(select, select::dead_letter_at).await
    }

    async fn find(&self, event_id: EventId, route: &str) -> Result<Option<DeadLetter>, StoreError> {
        let select = select::one(self.dialect()?, self.tables(), event_id, route);
        Ok(self.rows(select, select::dead_letter_at).await?.pop())
    }

    async fn list_in_order(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&ShardCursor>,
        limit: u64,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let select = select::in_order(self.dialect()?, self.tables(), filter, after, limit);
        self.rows(select, select::dead_letter_at).await
    }

    async fn amend(
        &self,
        event_id: EventId,
        route: &str,
        amendment: &Amendment,
    ) -> Result<(), StoreError> {
        amending::amend(self, event_id, route, amendment).await
    }

    async fn replay(&self, event_id: EventId, route: &str) -> Result<Replayed, StoreError> {
        let Some(dead_letter) = self.find(event_id, route).await? else {
            return Ok(Replayed::default());
        };
        if dead_letter.raw.is_some() {
            return Err(StoreError::NotReplayable {
                event_id,
                route: dead_letter.route,
            });
        }
        let keys = [(event_id, Arc::clone(&dead_letter.route))];
        match self.replay_together(dead_letter.shard, &keys).await? {
            0 => Ok(Replayed::default()),
            _ => Ok(Replayed {
                replayed: true,
                later_ones_out: dead_letter.later_ones_out(),
            }),
        }
    }

    async fn replay_together(
        &self,
        shard: ShardId,
        keys: &[DeadLetterKey],
    ) -> Result<u64, StoreError> {
        removed(self, shard, keys, Fate::Replayed).await
    }

    async fn discard(
        &self,
        event_id: EventId,
        route: &str,
        discarding: &Discarding,
    ) -> Result<bool, StoreError> {
        let Some(dead_letter) = self.find(event_id, route).await? else {
            return Ok(false);
        };
        let keys = [(event_id, dead_letter.route)];
        Ok(self
            .discard_together(dead_letter.shard, &keys, discarding)
            .await?
            > 0)
    }

    async fn discard_together(
        &self,
        shard: ShardId,
        keys: &[DeadLetterKey],
        discarding: &Discarding,
    ) -> Result<u64, StoreError> {
        discarding.check()?;
        removed(self, shard, keys, Fate::Discarded(discarding)).await
    }

    async fn discarded(
        &self,
        query: &DeadLetterQuery,
    ) -> Result<Vec<DiscardedDeadLetter>, StoreError> {
        let select = select::discarded(self.dialect()?, self.tables(), query);
        self.rows(select, select::discarded_at).await
    }
}

impl OutboxStore {
    async fn rows<T>(
        &self,
        select: Sql<'_>,
        read: impl Fn(&QueryResult) -> T,
    ) -> Result<Vec<T>, StoreError> {
        self.check_owner().await?;
        let rows = self.db().query_all_raw(select.build()).await;
        let rows = rows.map(|rows| rows.iter().map(read).collect());
        rows.map_err(|error| store_error(self.db().get_database_backend(), error))
    }
}

/// Locks the dead letters of a shard until the transaction ends, and tells its relay of the change.
pub(crate) async fn lock_shard(
    tx: &StoreTransaction,
    dialect: &'static dyn Dialect,
    tables: &Tables,
    shard: ShardId,
) -> Result<(), DbErr> {
    let raise = "UPDATE {shard} SET revision = revision + 1 WHERE shard = ?";
    tx.execute_raw(Sql::new(dialect, tables, raise, binds![shard]).build())
        .await?;
    Ok(())
}

/// Appends the condition that a row is one of these dead letters.
fn of_keys<'a>(sql: Sql<'a>, keys: &[DeadLetterKey]) -> Sql<'a> {
    let condition = vec!["event_id = ? AND route = ?"; keys.len()].join(" OR ");
    let binds = keys
        .iter()
        .flat_map(|(event_id, route)| binds![Uuid::from(*event_id), &**route]);
    sql.then(&format!("({condition})"), binds)
}
