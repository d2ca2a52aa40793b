//! A store that goes away when told to.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bento_core::outbox::{ShardId, Sharding};
use bento_relay::publish::{HandlerRoute, PoolId};
use bento_relay::store::{
    Advance, Advanced, Heartbeat, Holdings, Leftovers, Prune, RelayId, RelayStore, StoreError,
};

/// Wraps a store and makes it unavailable, or its answers unclear, when told to. Clones go away
/// together.
#[derive(Clone, Debug)]
pub struct FlakyStore<S> {
    inner: S,
    outage: Arc<Mutex<Outage>>,
    unreadable: Arc<Mutex<BTreeSet<ShardId>>>,
    asked: Arc<Mutex<Vec<usize>>>,
}

/// The faults of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outage {
    /// Nothing.
    #[default]
    None,
    /// Every call fails, and does nothing.
    Down,
    /// Every call does what it should, and its answer is lost: for this number of calls, then
    /// nothing is wrong.
    AnswersLost(u32),
    /// Every call does what it should at once, and answers after so long, by tokio's clock.
    Slow(Duration),
    /// No call ever returns, nor does anything.
    Hangs,
    /// Every call panics.
    Panics,
}

impl<S> FlakyStore<S> {
    /// Wraps a store that is there.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            outage: Arc::default(),
            unreadable: Arc::default(),
            asked: Arc::default(),
        }
    }

    /// Makes it go wrong, or right again, from the next call on.
    pub fn set(&self, outage: Outage) {
        *self.outage() = outage;
    }

    /// Makes the rows of these shards, and of no others, unreadable from the next call on:
    /// `advance` fails if it asks for rows, and still settles if it asks for none.
    pub fn set_unreadable(&self, shards: impl IntoIterator<Item = ShardId>) {
        *self
            .unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = shards.into_iter().collect();
    }

    /// The numbers of pending rows that `advance` was asked for, oldest call first; 0 for a call
    /// that only settles.
    pub fn asked(&self) -> Vec<usize> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn is_unreadable(&self, shard: ShardId) -> bool {
        self.unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&shard)
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let outage = *self.outage();
        match outage {
            Outage::None => call.await,
            Outage::Down => Err(StoreError::unavailable("down, as told")),
            Outage::AnswersLost(left) => {
                self.set(if left > 1 {
                    Outage::AnswersLost(left - 1)
                } else {
                    Outage::None
                });
                call.await?;
                Err(StoreError::unavailable("the answer was lost, as told"))
            }
            Outage::Slow(delay) => {
                let answer = call.await;
                tokio::time::sleep(delay).await;
                answer
            }
            Outage::Hangs => std::future::pending().await,
            Outage::Panics => panic!("a store panics as told"),
        }
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: RelayStore> RelayStore for FlakyStore<S> {
    fn pool(&self) -> Option<PoolId> {
        self.inner.pool()
    }

    async fn open(&self) -> Result<Sharding, StoreError> {
        self.call(self.inner.open()).await
    }

    async fn is_published(&self) -> Result<bool, StoreError> {
        self.call(self.inner.is_published()).await
    }

    async fn record_handlers(&self, handlers: &[HandlerRoute]) -> Result<(), StoreError> {
        self.call(self.inner.record_handlers(handlers)).await
    }

    async fn leftovers(&self) -> Result<Vec<(Arc<str>, Leftovers)>, StoreError> {
        self.inner.leftovers().await
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<Holdings, StoreError> {
        self.call(self.inner.heartbeat(heartbeat)).await
    }

    async fn advance(&self, advance: Advance) -> Result<Advanced, StoreError> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(advance.pending);
        if advance.pending > 0 && self.is_unreadable(advance.lease.shard) {
            let reason = format!("shard {}, as told", advance.lease.shard);
            return Err(StoreError::Corrupt {
                reason,
                source: None,
            });
        }
        self.call(self.inner.advance(advance)).await
    }

    async fn poll(
        &self,
        shards: &[ShardId],
        without: &[Arc<str>],
    ) -> Result<Vec<ShardId>, StoreError> {
        self.call(self.inner.poll(shards, without)).await
    }

    async fn release(&self, relay: RelayId) -> Result<(), StoreError> {
        self.call(self.inner.release(relay)).await
    }

    async fn prune(&self, prune: Prune) -> Result<Option<u64>, StoreError> {
        self.call(self.inner.prune(prune)).await
    }
}
