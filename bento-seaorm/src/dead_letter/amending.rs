//! The change of a dead letter's headers.

use bento_core::id::EventId;
use bento_core::outbox::ShardId;
use bento_relay::dead_letter::{Amendment, DeadLetter, DeadLetters};
use bento_relay::store::StoreError;
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::{lock_shard, own_key, select};
use crate::dialect::{Sql, binds};
use crate::relay_store::{OutboxStore, StoreFailure, retrying};

/// Changes the headers of one dead letter in a transaction of its own.
pub(super) async fn amend(
    store: &OutboxStore,
    event_id: EventId,
    route: &str,
    amendment: &Amendment,
) -> Result<(), StoreError> {
    let Some(DeadLetter { shard, .. }) = store.find(event_id, route).await? else {
        return Err(StoreError::NoDeadLetter {
            event_id,
            route: route.into(),
        });
    };
    let amending = Amending {
        store,
        shard,
        event_id,
        route,
        amendment,
    };
    retrying(store.db().get_database_backend(), || amending.once()).await
}

/// The change of one dead letter.
struct Amending<'a> {
    store: &'a OutboxStore,
    shard: ShardId,
    event_id: EventId,
    route: &'a str,
    amendment: &'a Amendment,
}

impl Amending<'_> {
    /// Reads the dead letter under the lock of its shard, so that it is not replayed or discarded
    /// before it is written.
    async fn once(&self) -> Result<(), StoreFailure> {
        let &Self {
            store,
            shard,
            event_id,
            route,
            amendment,
        } = self;
        let (tx, dialect) = store.begin().await?;
        lock_shard(&tx, dialect, store.tables(), shard).await?;
        own_key::settle_keys(&tx, dialect, store.tables(), &[(event_id, route.into())]).await?;
        let rows = tx
            .query_all_raw(select::one(dialect, store.tables(), event_id, route).build())
            .await?;
        let Some(row) = rows.first() else {
            return Err(StoreError::NoDeadLetter {
                event_id,
                route: route.into(),
            }
            .into());
        };
        let headers = amendment.apply(&select::dead_letter_at(row))?;
        let headers = (!headers.is_empty()).then(|| headers.to_vec());
        let update = Sql::new(
            dialect,
            store.tables(),
            "UPDATE {dead_letter} SET headers = ? WHERE event_id = ? AND route = ?",
            binds![headers, Uuid::from(event_id), route],
        );
        tx.execute_raw(update.build()).await?;
        Ok(tx.commit().await?)
    }
}
