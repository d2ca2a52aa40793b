//! The way of Bento: a relay on the outbox of the database, with a publisher that confirms
//! everything at once.

use std::sync::Arc;

use bento_core::outbox::{ShardId, Sharding};
use bento_relay::Relay;
use bento_relay::publish::{Delivery, HandlerRoute, PublishError, Publisher};
use bento_relay::store::{
    Advance, Advanced, Heartbeat, Holdings, Prune, RelayId, RelayStore, StoreError,
};
use bento_seaorm::OutboxStore;
use sea_orm::DatabaseConnection;

use crate::outbox::Published;

/// A store that was opened before the clock runs: on PostgreSQL that looks for a pooler and closes
/// the two sessions it asks, and with them goes what they tell of their processor time.
#[derive(Debug)]
pub(crate) struct Opened {
    store: OutboxStore,
    sharding: Sharding,
}

impl Opened {
    pub(crate) async fn open(db: DatabaseConnection) -> Result<Self, StoreError> {
        let store = OutboxStore::new(db);
        let sharding = store.open().await?;
        Ok(Self { store, sharding })
    }
}

impl RelayStore for Opened {
    async fn open(&self) -> Result<Sharding, StoreError> {
        Ok(self.sharding)
    }

    async fn is_published(&self) -> Result<bool, StoreError> {
        self.store.is_published().await
    }

    async fn record_handlers(&self, handlers: &[HandlerRoute]) -> Result<(), StoreError> {
        self.store.record_handlers(handlers).await
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<Holdings, StoreError> {
        self.store.heartbeat(heartbeat).await
    }

    async fn advance(&self, advance: Advance) -> Result<Advanced, StoreError> {
        self.store.advance(advance).await
    }

    async fn poll(
        &self,
        shards: &[ShardId],
        without: &[Arc<str>],
    ) -> Result<Vec<ShardId>, StoreError> {
        self.store.poll(shards, without).await
    }

    async fn release(&self, relay: RelayId) -> Result<(), StoreError> {
        self.store.release(relay).await
    }

    async fn prune(&self, prune: Prune) -> Result<Option<u64>, StoreError> {
        self.store.prune(prune).await
    }
}

pub(crate) async fn drain(
    store: Opened,
    batch: usize,
    workers: Option<usize>,
    published: &Arc<Published>,
) -> bento_benchmarks::Result {
    let relay = Relay::builder(store, Confirm(Arc::clone(published))).batch(batch);
    let relay = match workers {
        Some(workers) => relay.workers(workers),
        None => relay,
    };
    relay.run_until_empty().await?;
    Ok(())
}

#[derive(Debug)]
struct Confirm(Arc<Published>);

impl Publisher for Confirm {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        self.0.add(
            batch
                .iter()
                .filter_map(|delivery| delivery.envelope.sequence),
        );
        batch.iter().map(|_| Ok(())).collect()
    }
}
