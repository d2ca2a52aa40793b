//! What a store can tell about its outbox: how much is waiting, for whom, and who works on it.
//!
//! [`Inspect`] answers questions, [`Coverage`] says which lanes nobody serves, [`Monitor`]
//! publishes both as metrics.

mod coverage;
mod monitor;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bento_core::outbox::{ShardId, Sharding};

pub use self::coverage::{Coverage, Overlap};
pub use self::monitor::{Monitor, MonitorHandle, MonitorSettings};
use crate::store::{RelayId, StoreError};

/// How many events there are by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusCounts {
    /// In the outbox, never tried.
    pub pending: u64,
    /// Held back for a route: failed and to be retried, or behind one that is.
    pub held: u64,
    /// Given up for a route, waiting for an operator.
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

/// The events of one tenant for one route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// The tenant; `None` for events without one.
    pub tenant_id: Option<String>,
    /// The route; `None` for events that are pending: they have not been routed yet.
    pub route: Option<Arc<str>>,
    /// The events.
    pub counts: StatusCounts,
    /// How long ago the oldest of those occurred that are pending or held, by the store's clock;
    /// `None` without one.
    pub oldest: Option<Duration>,
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
    /// How long the lease lasts, by the store's clock from now; `None` if it is free or has run
    /// out.
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

/// The outbox as an operator sees it. Counting reads whole tables: ask every few seconds, not per
/// event.
pub trait Inspect: Send + Sync {
    /// How many events there are by status.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn counts(&self) -> impl Future<Output = Result<StatusCounts, StoreError>> + Send;

    /// The same by tenant, ordered by tenant, those without one first; a tenant without events is
    /// left out.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn counts_by_tenant(
        &self,
    ) -> impl Future<Output = Result<Vec<TenantCounts>, StoreError>> + Send;

    /// The age of the oldest pending event, by the store's clock; `None` without one. Held events
    /// are not looked at: [`backlog`](Self::backlog) has their age.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn oldest_pending(&self) -> impl Future<Output = Result<Option<Duration>, StoreError>> + Send;

    /// The leases of all shards that were ever claimed, ordered by shard.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn leases(&self) -> impl Future<Output = Result<Vec<LeaseState>, StoreError>> + Send;

    /// The counts by tenant and route with the age of the oldest, ordered by both, `None` first;
    /// what has no events is left out.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn backlog(&self) -> impl Future<Output = Result<Vec<Backlog>, StoreError>> + Send;

    /// The relays that are alive, ordered by id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn relays(&self) -> impl Future<Output = Result<Vec<RelayState>, StoreError>> + Send;

    /// How the outbox is divided; `None` before its first use.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn sharding(&self) -> impl Future<Output = Result<Option<Sharding>, StoreError>> + Send;

    /// Which lanes nobody serves, and which relays serve the same lane by different lists; `None`
    /// before the first use of the outbox.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn coverage(&self) -> impl Future<Output = Result<Option<Coverage>, StoreError>> + Send {
        async {
            let Some(sharding) = self.sharding().await? else {
                return Ok(None);
            };
            Ok(Some(Coverage::of(&self.relays().await?, sharding)))
        }
    }
}
