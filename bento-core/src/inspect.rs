//! What a store can tell about its outbox: how much is waiting, for whom, and who works on it.

use std::future::Future;
use std::time::Duration;

use crate::outbox::ShardId;
use crate::relay::store::{RelayId, StoreError};

/// How many events there are by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusCounts {
    /// In the outbox, never tried.
    pub pending: u64,
    /// Held back for a destination: failed and to be retried, or behind one that is.
    pub held: u64,
    /// Given up for a destination, waiting for an operator.
    pub dead: u64,
}

impl StatusCounts {
    /// What the relay still has to do by itself: pending and held.
    pub fn backlog(&self) -> u64 {
        self.pending + self.held
    }
}

/// The counts of one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantCounts {
    /// The tenant; `None` for events without one.
    pub tenant_id: Option<String>,
    /// Its events.
    pub counts: StatusCounts,
}

/// What is known of the lease of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseState {
    /// The shard.
    pub shard: ShardId,
    /// The relay that holds it, or held it until its lease ran out; `None` if it is free.
    pub owner: Option<RelayId>,
    /// The fencing token of the last owner.
    pub epoch: i64,
    /// How long the lease lasts, by the store's clock from now; `None` if it is free or has run out.
    pub expires_in: Option<Duration>,
}

/// What is known of a relay that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayState {
    /// The relay.
    pub relay: RelayId,
    /// The lanes it serves; `None` serves all.
    pub lanes: Option<Vec<u16>>,
    /// How long it counts as alive without another sign of life, by the store's clock from now.
    pub expires_in: Duration,
}

/// The outbox as an operator sees it. Counting reads whole tables: ask every few seconds, not per event.
pub trait Inspect: Send + Sync {
    /// How many events there are by status.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn counts(&self) -> impl Future<Output = Result<StatusCounts, StoreError>> + Send;

    /// The same by tenant, ordered by tenant, those without one first; a tenant without events is left out.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn counts_by_tenant(&self) -> impl Future<Output = Result<Vec<TenantCounts>, StoreError>> + Send;

    /// How long ago the oldest pending event occurred, by the store's clock; `None` without one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn oldest_pending(&self) -> impl Future<Output = Result<Option<Duration>, StoreError>> + Send;

    /// The leases of all shards that were ever claimed, ordered by shard.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn leases(&self) -> impl Future<Output = Result<Vec<LeaseState>, StoreError>> + Send;

    /// The relays that are alive, ordered by id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn relays(&self) -> impl Future<Output = Result<Vec<RelayState>, StoreError>> + Send;
}
