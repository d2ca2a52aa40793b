//! An outbox in memory: the reference for what a store does, and enough for tests without a
//! database.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bento_core::id::EventId;
use bento_core::outbox::{OutboxEntry, ShardId, Sharding};

pub use self::clock::ManualClock;
use self::clock::MemoryClock;
use self::state::State;
use crate::dead_letter::{
    AlertOutcome, AlertStore, Amendment, DeadLetter, DeadLetterFilter, DeadLetterQuery,
    DeadLetters, DiscardedLetter, Discarding, LetterKey, Replayed, ShardCursor,
};
use crate::held::{HeldEvents, HeldFilter};
use crate::inspect::{Backlog, Inspect, LeaseState, RelayState, StatusCounts, TenantCounts};
use crate::store::{
    Advance, Advanced, Heartbeat, Holdings, Prune, RelayId, RelayStore, StoreError,
};
use crate::tenant::{PausedTenant, Pauses};

mod clock;
mod counts;
mod leases;
mod letters;
mod shard;
mod state;

/// An outbox in memory. Clones share their rows and leases, as processes share a database.
///
/// Its clock is tokio's, which tests can pause, or one that stands still until it is told to go on.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    data: Arc<Data>,
    configured: Sharding,
}

#[derive(Debug)]
struct Data {
    state: Mutex<State>,
    clock: MemoryClock,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(Sharding::default())
    }
}

impl MemoryStore {
    /// An empty outbox on tokio's clock.
    pub fn new(sharding: Sharding) -> Self {
        Self::with_clock(sharding, MemoryClock::tokio())
    }

    /// An empty outbox whose clock moves only by [`ManualClock::advance`].
    pub fn with_manual_clock(sharding: Sharding) -> (Self, ManualClock) {
        let (clock, manual) = MemoryClock::manual();
        (Self::with_clock(sharding, clock), manual)
    }

    /// The same rows, seen by a process that is configured for another sharding of the outbox.
    #[must_use]
    pub fn configured_for(&self, sharding: Sharding) -> Self {
        Self {
            data: Arc::clone(&self.data),
            configured: sharding,
        }
    }

    /// Writes events as one committed transaction; an event id that the outbox knows is not written
    /// again.
    pub fn append(&self, entries: impl IntoIterator<Item = OutboxEntry>) {
        self.stage(entries).commit();
    }

    /// Takes positions for events as an open transaction does: nobody sees them before
    /// [`Staged::commit`].
    pub fn stage(&self, entries: impl IntoIterator<Item = OutboxEntry>) -> Staged {
        let mut state = self.state();
        let rows = entries
            .into_iter()
            .map(|entry| (state.next_position(), entry))
            .collect();
        drop(state);
        Staged {
            store: self.clone(),
            rows,
        }
    }

    fn with_clock(sharding: Sharding, clock: MemoryClock) -> Self {
        Self {
            data: Arc::new(Data {
                state: Mutex::default(),
                clock,
            }),
            configured: sharding,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.data
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.data.clock.now()
    }
}

/// Events of a transaction that is still open. Dropping it rolls it back.
#[derive(Debug)]
#[must_use = "commit it, or nobody sees the events"]
pub struct Staged {
    store: MemoryStore,
    rows: Vec<(i64, OutboxEntry)>,
}

impl Staged {
    /// Makes the events visible at the positions that they took when they were staged.
    pub fn commit(self) {
        let mut state = self.store.state();
        for (position, entry) in self.rows {
            state.insert(position, entry);
        }
    }
}

impl RelayStore for MemoryStore {
    async fn open(&self) -> Result<Sharding, StoreError> {
        self.state().open(self.configured)
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<Holdings, StoreError> {
        let holdings = self
            .state()
            .heartbeat(&heartbeat, self.configured, self.now());
        Ok(Holdings {
            now: Some(self.data.clock.wall()),
            ..holdings
        })
    }

    async fn advance(&self, advance: Advance) -> Result<Advanced, StoreError> {
        let wall = self.data.clock.wall();
        self.state().advance(advance, self.now(), wall)
    }

    async fn poll(
        &self,
        shards: &[ShardId],
        without: &[Arc<str>],
    ) -> Result<Vec<ShardId>, StoreError> {
        Ok(self.state().poll(shards, without, self.now()))
    }

    async fn release(&self, relay: RelayId) -> Result<(), StoreError> {
        self.state().release(relay);
        Ok(())
    }

    async fn prune(&self, prune: Prune) -> Result<Option<u64>, StoreError> {
        Ok(self.state().prune(prune, self.now()))
    }
}

impl DeadLetters for MemoryStore {
    async fn list(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        Ok(self.state().dead_letters(query))
    }

    async fn find(&self, event_id: EventId, route: &str) -> Result<Option<DeadLetter>, StoreError> {
        Ok(self.state().find_dead(event_id, route))
    }

    async fn list_in_order(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&ShardCursor>,
        limit: u64,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        Ok(self.state().dead_in_order(filter, after, limit))
    }

    async fn amend(
        &self,
        event_id: EventId,
        route: &str,
        amendment: &Amendment,
    ) -> Result<(), StoreError> {
        self.state().amend(event_id, route, amendment)
    }

    async fn replay(&self, event_id: EventId, route: &str) -> Result<Replayed, StoreError> {
        Ok(self.state().replay(event_id, route))
    }

    async fn replay_together(
        &self,
        _shard: ShardId,
        letters: &[LetterKey],
    ) -> Result<u64, StoreError> {
        Ok(self.state().replay_together(letters))
    }

    async fn discard(
        &self,
        event_id: EventId,
        route: &str,
        discarding: &Discarding,
    ) -> Result<bool, StoreError> {
        discarding.check()?;
        let wall = self.data.clock.wall();
        Ok(self.state().discard(event_id, route, discarding, wall))
    }

    async fn discard_together(
        &self,
        _shard: ShardId,
        letters: &[LetterKey],
        discarding: &Discarding,
    ) -> Result<u64, StoreError> {
        discarding.check()?;
        let wall = self.data.clock.wall();
        Ok(self.state().discard_together(letters, discarding, wall))
    }

    async fn discarded(&self, query: &DeadLetterQuery) -> Result<Vec<DiscardedLetter>, StoreError> {
        Ok(self.state().discarded(query))
    }
}

impl AlertStore for MemoryStore {
    async fn take_unalerted(
        &self,
        limit: u32,
        hold: Duration,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        Ok(self.state().take_unalerted(limit, hold, self.now()))
    }

    async fn settle_alerts(
        &self,
        letters: &[DeadLetter],
        outcome: AlertOutcome,
    ) -> Result<(), StoreError> {
        self.state().settle_alerts(letters, outcome, self.now());
        Ok(())
    }
}

impl Pauses for MemoryStore {
    async fn pause(
        &self,
        tenant_id: &str,
        reason: &str,
        actor: Option<&str>,
    ) -> Result<bool, StoreError> {
        PausedTenant::check(tenant_id, reason, actor)?;
        let paused = PausedTenant::new(
            tenant_id,
            reason,
            actor.map(str::to_owned),
            self.data.clock.wall(),
        );
        Ok(self.state().pause(paused))
    }

    async fn resume(&self, tenant_id: &str) -> Result<bool, StoreError> {
        Ok(self.state().resume(tenant_id))
    }

    async fn paused(&self) -> Result<Vec<PausedTenant>, StoreError> {
        Ok(self.state().paused())
    }
}

impl HeldEvents for MemoryStore {
    async fn retry_now(&self, filter: &HeldFilter) -> Result<u64, StoreError> {
        Ok(self.state().retry_now(filter, self.now()))
    }
}

impl Inspect for MemoryStore {
    async fn counts(&self) -> Result<StatusCounts, StoreError> {
        Ok(self.state().counts())
    }

    async fn counts_by_tenant(&self) -> Result<Vec<TenantCounts>, StoreError> {
        Ok(self.state().counts_by_tenant())
    }

    async fn oldest_pending(&self) -> Result<Option<Duration>, StoreError> {
        Ok(self.state().oldest_pending(self.data.clock.wall()))
    }

    async fn leases(&self) -> Result<Vec<LeaseState>, StoreError> {
        Ok(self.state().lease_states(self.now()))
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        Ok(self.state().backlog(self.data.clock.wall()))
    }

    async fn relays(&self) -> Result<Vec<RelayState>, StoreError> {
        Ok(self.state().leases.relays(self.now()))
    }

    async fn sharding(&self) -> Result<Option<Sharding>, StoreError> {
        Ok(self.state().recorded)
    }
}
