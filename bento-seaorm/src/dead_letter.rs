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

use self::removal::{Fate, removed};
use crate::dialect::{Dialect, Sql};
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
        self.rows(select, select::letter).await
    }

    async fn find(&self, event_id: EventId, route: &str) -> Result<Option<DeadLetter>, StoreError> {
        let select = select::one(self.dialect()?, self.tables(), event_id, route);
        Ok(self.rows(select, select::letter).await?.pop())
    }

    async fn list_in_order(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&ShardCursor>,
        limit: u64,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let select = select::in_order(self.dialect()?, self.tables(), filter, after, limit);
        self.rows(select, select::letter).await
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
        let Some(letter) = self.find(event_id, route).await? else {
            return Ok(Replayed::default());
        };
        if letter.raw.is_some() {
            return Err(StoreError::NotReplayable {
                event_id,
                route: letter.route,
            });
        }
        let letters = [(event_id, Arc::clone(&letter.route))];
        match self.replay_together(letter.shard, &letters).await? {
            0 => Ok(Replayed::default()),
            _ => Ok(Replayed {
                replayed: true,
                later_ones_out: letter.later_ones_out(),
            }),
        }
    }

    async fn replay_together(
        &self,
        shard: ShardId,
        letters: &[DeadLetterKey],
    ) -> Result<u64, StoreError> {
        removed(self, shard, letters, Fate::Replayed).await
    }

    async fn discard(
        &self,
        event_id: EventId,
        route: &str,
        discarding: &Discarding,
    ) -> Result<bool, StoreError> {
        let Some(letter) = self.find(event_id, route).await? else {
            return Ok(false);
        };
        let letters = [(event_id, letter.route)];
        Ok(self
            .discard_together(letter.shard, &letters, discarding)
            .await?
            > 0)
    }

    async fn discard_together(
        &self,
        shard: ShardId,
        letters: &[DeadLetterKey],
        discarding: &Discarding,
    ) -> Result<u64, StoreError> {
        discarding.check()?;
        removed(self, shard, letters, Fate::Discarded(discarding)).await
    }

    async fn discarded(
        &self,
        query: &DeadLetterQuery,
    ) -> Result<Vec<DiscardedDeadLetter>, StoreError> {
        let select = select::discarded(self.dialect()?, self.tables(), query);
        self.rows(select, select::discarded_letter).await
    }
}

impl OutboxStore {
    async fn rows<T>(
        &self,
        select: Sql,
        read: impl Fn(&QueryResult) -> T,
    ) -> Result<Vec<T>, StoreError> {
        self.check_owner().await?;
        let rows = self.db().query_all_raw(select.build()).await;
        let rows = rows.map(|rows| rows.iter().map(read).collect());
        rows.map_err(|error| store_error(self.db().get_database_backend(), error))
    }
}

/// Locks the dead letters of a shard until the transaction ends, and tells its relay of the change.
async fn lock_shard(
    tx: &StoreTransaction,
    dialect: &'static dyn Dialect,
    tables: &Tables,
    shard: ShardId,
) -> Result<(), DbErr> {
    let raise = format!(
        "UPDATE {} SET revision = revision + 1 WHERE shard = ",
        tables.shard()
    );
    tx.execute_raw(Sql::new(dialect, &raise).bind(shard).build())
        .await?;
    Ok(())
}

/// Appends the condition that a row is one of these dead letters.
fn of_letters(mut sql: Sql, letters: &[DeadLetterKey]) -> Sql {
    for (nth, (event_id, route)) in letters.iter().enumerate() {
        sql = sql
            .push(if nth == 0 {
                "(event_id = "
            } else {
                " OR event_id = "
            })
            .bind(uuid::Uuid::from(*event_id))
            .push(" AND route = ")
            .bind(&**route);
    }
    sql.push(")")
}
