//! The state of the outbox for operators: the backlog by tenant and route, the leases, the relays;
//! and that of the event store.
//!
//! [`Inspect`] answers questions, [`Coverage`] lists lanes that no relay serves, [`Monitor`]
//! publishes both as metrics. [`InspectEvents`] counts stored aggregates and events.

mod coverage;
mod events;
mod monitor;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bento_core::outbox::{ShardId, Sharding};

pub use self::coverage::{Coverage, Overlap};
pub use self::events::{InspectEvents, StoredAggregates};
pub use self::monitor::{Monitor, MonitorHandle, MonitorSettings};
use crate::store::{RelayId, StoreError};

/// The numbers of events by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusCounts {
    /// Events in the outbox that were never tried.
    pub pending: u64,
    /// Events held back for a route: failed and waiting for a retry, or behind such an event.
    pub held: u64,
    /// Dead letters.
    pub dead: u64,
}

impl StatusCounts {
    /// The events that the relay still has to deliver: pending and held ones.
    pub fn backlog(&self) -> u64 {
        self.pending + self.held
    }
}

/// The counts of one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantCounts {
    /// The tenant; `None` for events without one.
    pub tenant_id: Option<String>,
    /// The counts of the tenant's events.
    pub counts: StatusCounts,
}

/// The events of one tenant for one route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// The tenant; `None` for events without one.
    pub tenant_id: Option<String>,
    /// The route; `None` for events that are pending: they have not been routed yet.
    pub route: Option<Arc<str>>,
    /// The counts of the events.
    pub counts: StatusCounts,
    /// The age of the oldest pending or held event, by the store's clock; `None` without one.
    pub oldest: Option<Duration>,
}

/// The state of the lease of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseState {
    /// The shard.
    pub shard: ShardId,
    /// The relay that holds the lease, or held it until it ran out; `None` if the lease is free.
    pub owner: Option<RelayId>,
    /// The fencing token of the last owner.
    pub epoch: i64,
    /// The remaining time of the lease by the store's clock; `None` if it is free or has run out.
    pub expires_in: Option<Duration>,
}

/// The state of a relay that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayState {
    /// The relay.
    pub relay: RelayId,
    /// The lanes that the relay serves; `None` for all lanes.
    pub lanes: Option<Vec<u16>>,
    /// The names of the handlers that the relay serves, in order.
    pub handlers: Vec<Arc<str>>,
    /// The time, by the store's clock, after which the relay counts as dead without another
    /// heartbeat.
    pub expires_in: Duration,
}

/// Counts and states of an outbox, for operators. Counting reads whole tables: ask every few
/// seconds, not per event.
///
/// ```
/// use bento_core::envelope::Envelope;
/// use bento_core::outbox::OutboxEntry;
/// use bento_relay::MemoryStore;
/// use bento_relay::inspect::Inspect;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), bento_relay::StoreError> {
/// let store = MemoryStore::default();
/// let envelope = Envelope::new("order.placed", 1, chrono::Utc::now(), "{}");
/// store.append([OutboxEntry { shard: 0, may_be_known: false, envelope }]);
/// let counts = store.counts().await?;
/// assert_eq!((counts.pending, counts.held, counts.dead), (1, 0, 0));
/// assert!(store.relays().await?.is_empty(), "the event waits for a relay");
/// # Ok(())
/// # }
/// ```
pub trait Inspect: Send + Sync {
    /// Returns the numbers of events by status.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn counts(&self) -> impl Future<Output = Result<StatusCounts, StoreError>> + Send;

    /// Returns the counts by tenant, ordered by tenant; events without a tenant come first. A
    /// tenant without events is left out.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn counts_by_tenant(
        &self,
    ) -> impl Future<Output = Result<Vec<TenantCounts>, StoreError>> + Send;

    /// Returns the age of the oldest pending event, by the store's clock; `None` without one. Held
    /// events are not included: [`backlog`](Self::backlog) has their age.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn oldest_pending(&self) -> impl Future<Output = Result<Option<Duration>, StoreError>> + Send;

    /// Returns the leases of all shards that were ever claimed, ordered by shard.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn leases(&self) -> impl Future<Output = Result<Vec<LeaseState>, StoreError>> + Send;

    /// Returns the counts by tenant and route with the age of the oldest event, ordered by both,
    /// `None` first. Pairs without events are left out.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn backlog(&self) -> impl Future<Output = Result<Vec<Backlog>, StoreError>> + Send;

    /// Returns the relays that are alive, ordered by id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn relays(&self) -> impl Future<Output = Result<Vec<RelayState>, StoreError>> + Send;

    /// Returns the recorded sharding of the outbox; `None` before its first use.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn sharding(&self) -> impl Future<Output = Result<Option<Sharding>, StoreError>> + Send;

    /// Returns the lanes that no relay serves, and those in different lists of relays; `None`
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
