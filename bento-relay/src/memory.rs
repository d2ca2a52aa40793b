//! An outbox and a store of events in memory: the reference for what a store does, and enough for
//! tests without a database.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bento_core::envelope::Envelope;
use bento_core::id::EventId;
use bento_core::limits;
use bento_core::outbox::{OutboxEntry, ShardId, Sharding};

pub use self::clock::ManualClock;
use self::clock::MemoryClock;
use self::contents::Contents;
pub use self::events::MemoryEvents;
use crate::dead_letter::{
    AlertOutcome, AlertStore, Amendment, DeadLetter, DeadLetterFilter, DeadLetterKey,
    DeadLetterQuery, DeadLetters, DiscardedDeadLetter, Discarding, Replayed, ShardCursor,
};
use crate::handler_control::{HandledAgain, HandlerControl, HandlerPause, HandlerState};
use crate::held::{HeldEvents, HeldFilter};
use crate::inspect::{Backlog, Inspect, LeaseState, RelayState, StatusCounts, TenantCounts};
use crate::publish::HandlerRoute;
use crate::store::{
    Advance, Advanced, Heartbeat, Holdings, Leftovers, Prune, RelayId, RelayStore, StoreError,
};
use crate::tenant::{PausedTenant, Pauses};

mod again;
mod alerts;
mod clock;
mod contents;
mod counts;
mod dead_letters;
mod events;
mod handlers;
mod leases;
mod shard;

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
    contents: Mutex<Contents>,
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

    /// Takes positions for events as an open transaction does: the events are invisible before
    /// [`Staged::commit`].
    pub fn stage(&self, entries: impl IntoIterator<Item = OutboxEntry>) -> Staged {
        let mut contents = self.contents();
        let rows = entries
            .into_iter()
            .map(|entry| (contents.next_position(), entry))
            .collect();
        drop(contents);
        Staged {
            store: self.clone(),
            rows,
        }
    }

    fn with_clock(sharding: Sharding, clock: MemoryClock) -> Self {
        Self {
            data: Arc::new(Data {
                contents: Mutex::default(),
                clock,
            }),
            configured: sharding,
        }
    }

    /// The sharding that the outbox records, else the one that this process is configured for.
    fn current_sharding(&self) -> Sharding {
        self.contents().recorded.unwrap_or(self.configured)
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.data
            .contents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.data.clock.now()
    }
}

/// Events of a transaction that is still open. Dropping it rolls it back.
#[derive(Debug)]
#[must_use = "commit it, or the events stay invisible"]
pub struct Staged {
    store: MemoryStore,
    rows: Vec<(i64, OutboxEntry)>,
}

impl Staged {
    /// Makes the events visible at the positions that they took when they were staged.
    pub fn commit(self) {
        let mut contents = self.store.contents();
        for (position, entry) in self.rows {
            contents.insert(position, entry);
        }
    }
}

impl RelayStore for MemoryStore {
    async fn open(&self) -> Result<Sharding, StoreError> {
        self.contents().open(self.configured)
    }

    async fn is_published(&self) -> Result<bool, StoreError> {
        Ok(self.contents().is_published)
    }

    async fn record_handlers(&self, handlers: &[HandlerRoute]) -> Result<(), StoreError> {
        self.contents()
            .record_handlers(handlers, self.now(), self.data.clock.wall());
        Ok(())
    }

    async fn leftovers(&self) -> Result<Vec<(Arc<str>, Leftovers)>, StoreError> {
        Ok(self.contents().leftovers().into_iter().collect())
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<Holdings, StoreError> {
        let holdings = self
            .contents()
            .heartbeat(&heartbeat, self.configured, self.now())?;
        Ok(Holdings {
            now: Some(self.data.clock.wall()),
            ..holdings
        })
    }

    async fn advance(&self, advance: Advance) -> Result<Advanced, StoreError> {
        let wall = self.data.clock.wall();
        self.contents().advance(advance, self.now(), wall)
    }

    async fn poll(
        &self,
        shards: &[ShardId],
        without: &[Arc<str>],
    ) -> Result<Vec<ShardId>, StoreError> {
        Ok(self.contents().poll(shards, without, self.now()))
    }

    async fn release(&self, relay: RelayId) -> Result<(), StoreError> {
        self.contents().release(relay);
        Ok(())
    }

    async fn prune(&self, prune: Prune) -> Result<Option<u64>, StoreError> {
        Ok(self.contents().prune(prune, self.now()))
    }
}

impl DeadLetters for MemoryStore {
    async fn list(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        Ok(self.contents().dead_letters(query))
    }

    async fn find(&self, event_id: EventId, route: &str) -> Result<Option<DeadLetter>, StoreError> {
        Ok(self.contents().find_dead(event_id, route))
    }

    async fn list_in_order(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&ShardCursor>,
        limit: u64,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        Ok(self.contents().dead_in_order(filter, after, limit))
    }

    async fn amend(
        &self,
        event_id: EventId,
        route: &str,
        amendment: &Amendment,
    ) -> Result<(), StoreError> {
        self.contents().amend(event_id, route, amendment)
    }

    async fn replay(&self, event_id: EventId, route: &str) -> Result<Replayed, StoreError> {
        Ok(self.contents().replay(event_id, route))
    }

    async fn replay_together(
        &self,
        _shard: ShardId,
        dead_letters: &[DeadLetterKey],
    ) -> Result<u64, StoreError> {
        Ok(self.contents().replay_together(dead_letters))
    }

    async fn discard(
        &self,
        event_id: EventId,
        route: &str,
        discarding: &Discarding,
    ) -> Result<bool, StoreError> {
        discarding.check()?;
        let wall = self.data.clock.wall();
        Ok(self.contents().discard(event_id, route, discarding, wall))
    }

    async fn discard_together(
        &self,
        _shard: ShardId,
        dead_letters: &[DeadLetterKey],
        discarding: &Discarding,
    ) -> Result<u64, StoreError> {
        discarding.check()?;
        let wall = self.data.clock.wall();
        Ok(self
            .contents()
            .discard_together(dead_letters, discarding, wall))
    }

    async fn discarded(
        &self,
        query: &DeadLetterQuery,
    ) -> Result<Vec<DiscardedDeadLetter>, StoreError> {
        Ok(self.contents().discarded(query))
    }
}

impl AlertStore for MemoryStore {
    async fn take_unalerted(
        &self,
        limit: u32,
        hold: Duration,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        Ok(self.contents().take_unalerted(limit, hold, self.now()))
    }

    async fn settle_alerts(
        &self,
        dead_letters: &[DeadLetter],
        outcome: AlertOutcome,
    ) -> Result<(), StoreError> {
        self.contents()
            .alerts
            .settle(dead_letters, outcome, self.now());
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
        Ok(self.contents().pause(paused))
    }

    async fn resume(&self, tenant_id: &str) -> Result<bool, StoreError> {
        Ok(self.contents().resume(tenant_id))
    }

    async fn paused(&self) -> Result<Vec<PausedTenant>, StoreError> {
        Ok(self.contents().paused())
    }
}

impl HandlerControl for MemoryStore {
    async fn forget_publishers(&self) -> Result<(), StoreError> {
        self.contents().is_published = false;
        Ok(())
    }

    async fn handlers(&self) -> Result<Vec<HandlerState>, StoreError> {
        Ok(self.contents().handler_states(self.now()))
    }

    async fn pause_handler(
        &self,
        name: &str,
        reason: &str,
        actor: Option<&str>,
    ) -> Result<bool, StoreError> {
        HandlerPause::check(reason, actor)?;
        let pause = HandlerPause::new(reason, actor.map(str::to_owned), self.data.clock.wall());
        self.contents().pause_handler(name, Some(pause))
    }

    async fn resume_handler(&self, name: &str) -> Result<bool, StoreError> {
        self.contents().pause_handler(name, None)
    }

    async fn retire_handler(&self, name: &str) -> Result<Option<Leftovers>, StoreError> {
        Ok(self.contents().retire_handler(name))
    }

    async fn handle_again(
        &self,
        handler: &str,
        event_id: EventId,
    ) -> Result<HandledAgain, StoreError> {
        self.contents()
            .handle_again(handler, event_id, None, self.configured)
    }

    async fn handle_envelope_again(
        &self,
        handler: &str,
        envelope: &Envelope,
    ) -> Result<HandledAgain, StoreError> {
        limits::check_envelope(envelope)?;
        let event_id = envelope.event_id;
        self.contents()
            .handle_again(handler, event_id, Some(envelope), self.configured)
    }
}

impl HeldEvents for MemoryStore {
    async fn retry_now(&self, filter: &HeldFilter) -> Result<u64, StoreError> {
        Ok(self.contents().retry_now(filter, self.now()))
    }
}

impl Inspect for MemoryStore {
    async fn counts(&self) -> Result<StatusCounts, StoreError> {
        Ok(self.contents().counts())
    }

    async fn counts_by_tenant(&self) -> Result<Vec<TenantCounts>, StoreError> {
        Ok(self.contents().counts_by_tenant())
    }

    async fn oldest_pending(&self) -> Result<Option<Duration>, StoreError> {
        Ok(self.contents().oldest_pending(self.data.clock.wall()))
    }

    async fn leases(&self) -> Result<Vec<LeaseState>, StoreError> {
        Ok(self.contents().lease_states(self.now()))
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        Ok(self.contents().backlog(self.data.clock.wall()))
    }

    async fn relays(&self) -> Result<Vec<RelayState>, StoreError> {
        Ok(self.contents().leases.relays(self.now()))
    }

    async fn sharding(&self) -> Result<Option<Sharding>, StoreError> {
        Ok(self.contents().recorded)
    }
}
