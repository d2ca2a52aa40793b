//! The seam between the relay and the database that holds the outbox.
//!
//! A relay owns shards by lease. For each it makes one call per batch, [`RelayStore::advance`]:
//! settle outcomes, check and renew the lease, return the next rows, all in one transaction.
//! Everything else is bookkeeping around that call.
//!
//! The guarantees of a store, which the conformance suite of `bento-testkit` proves:
//!
//! 1. Two relays never both settle one shard: every settlement names the epoch of its lease, and a
//!    lost lease settles nothing.
//! 2. Rows of a shard are returned in position order, and a row that is there is returned until it
//!    is settled, however late its transaction committed.
//! 3. `advance` is idempotent: repeated after an unclear answer it changes nothing more.
//! 4. What `advance` returns is durable before it is returned.
//! 5. Leases, retries and deadlines run by the store's clock, never by the relay's.
//! 6. Held rows of one aggregate leave in position order, and none of them while an earlier one is
//!    a dead letter that parks the aggregate.
//!
//! In detail, where two stores could otherwise differ:
//!
//! * **A lease** that has run out may be claimed by another relay, which raises its epoch. Until
//!   one does, its owner still holds it: `advance` and `heartbeat` renew it. Losing it is a
//!   change of owner or epoch, never the clock alone.
//! * **The fair share** of a relay is its part of the shards among the relays whose last heartbeat
//!   is younger than its ttl: with `n` relays serving `s` shards no relay claims more than `s / n`
//!   rounded up, and none is left with less than `s / n` rounded down once the others have handed
//!   over their surplus. A row of a relay that is dead counts for nothing.
//! * **Held rows** are due by their head: the first held row of a stream. A head is due when its
//!   `retry_after` has passed, or at once without one. The head that was due first comes first.
//!   With a due head come its followers, whatever they say themselves, as many as `held` allows; if
//!   fewer than `held` rows are returned, every follower of every returned head is among them. A
//!   row that is not [ordered](HeldRow::ordered) is a stream of its own: always a head, never a
//!   follower, and never among the streams.
//! * **A paused tenant**'s held rows are not due, and not counted by [`Advanced::next_due`]. It is
//!   the tenant of the head that counts for a stream. Pausing and resuming change the revision of
//!   every shard.
//! * **A stream is parked** while one of its dead letters parks, or one of its aggregate for the
//!   route [`unreadable`](NewDeadLetter::UNREADABLE). A parked stream has no due head.
//! * **A row that cannot be read** becomes a dead letter when it heads what is returned: a pending
//!   one for the route `unreadable`, a held one for its own. The rows before it are returned first.
//!   Such a dead letter [names](crate::dead_letter::DeadLetter::raw) what the database shows of the
//!   row, and cannot be replayed.
//! * **A settlement that the database refuses** costs its row alone: that becomes a dead letter
//!   too, and the others are settled.
//! * **[`Advanced::streams`]** lists every stream of the shard that has a held row or is parked,
//!   after the settlements of the same call; never an event without order. It is returned when the
//!   known revision differs, so also for `None`.
//! * **The revision** changes whenever an operator replays or discards in the shard. It need not
//!   change with a settlement: the relay knows by itself which streams wait after its settlements,
//!   and asks again with `None` after one that may free a stream.
//! * **A settlement** whose row is gone (or no longer where the settlement expects it: pending, or
//!   held for the route) changes nothing and is not an error: the call was repeated, or an operator
//!   was quicker. A row that is held or dead already for a route is not doubled.
//! * **A shard outside of the sharding** that holds pending or held rows is claimed by any relay,
//!   above its fair share, and told as [stray](Holdings::stray) by every heartbeat until it is
//!   empty.
//! * **A published row** that is kept is recognised when its event id is written again, until it is
//!   pruned. An event is kept once, when a pending row is confirmed by all or a held one is
//!   confirmed; a row that is held or dead is not.
//! * **A handler** is recorded once by name. Recording it again replaces its order and its event
//!   types: those of the process that starts, and those that a living relay of another release
//!   serves for it; a heartbeat adds what its relay serves and the record lacks. A new one [starts
//!   after](RecordedHandler::starts_after) the last position of a row that is pending, or held
//!   under [`unroutable`](NewDeadLetter::UNROUTABLE), read while no relay reads rows; or after 0,
//!   from the [beginning](crate::publish::StartFrom::Beginning) and from a
//!   [time](crate::publish::StartFrom::At), which is recorded too. Whatever changes the record
//!   changes the revision of every shard in the same transaction: a relay learns of it in the call
//!   that returns the first row committed after it.
//! * **A paused handler**'s held rows are not due, and not counted by [`Advanced::next_due`].
//!   Pausing and resuming change the revision of every shard, and neither the fair shares nor what
//!   is recorded of the handler.
//! * **A relay is complete** if it serves every recorded handler with every event type recorded
//!   for it. While a complete relay that serves a lane is alive, an incomplete one has no fair
//!   share of that lane: it claims nothing there, and what it has is surplus.
//! * **Releasing** a shard, by a hand-over or by [`RelayStore::release`], leaves it free at once. A
//!   shard claimed later from an owner that did not release it was [taken
//!   over](Holdings::taken_over).

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bento_core::envelope::Envelope;
use bento_core::outbox::{ShardId, Sharding};
use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use self::error::StoreError;
pub use self::handlers::{Leftovers, RecordedHandler, ServedHandler};
pub use self::settlement::{Failure, NewDeadLetter, Outcome, Place, Settlement, Unroutable};
use crate::publish::{HandlerRoute, PoolId};
mod error;
mod handlers;
mod settlement;

/// The identity of one running relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelayId(pub Uuid);

impl RelayId {
    /// An id that no other relay has.
    #[expect(
        clippy::new_without_default,
        reason = "a default that differs each time would surprise"
    )]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The temporary right to one shard. The epoch is the fencing token: it grows with every change of
/// owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The leased shard.
    pub shard: ShardId,
    /// The relay that holds it.
    pub owner: RelayId,
    /// The fencing token.
    pub epoch: i64,
}

/// The stream within which order holds, for one route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey {
    /// The name of the route.
    pub route: Arc<str>,
    /// The type of the aggregate.
    pub aggregate_type: String,
    /// The id of the aggregate.
    pub aggregate_id: String,
}

/// A row of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// The position in the shard.
    pub position: i64,
    /// The event.
    pub envelope: Arc<Envelope>,
}

/// A row that was held back for a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRow {
    /// The name of the route that the row is held for.
    pub route: Arc<str>,
    /// The number of attempts.
    pub attempts: u32,
    /// True if the row keeps its place in its stream. A row without a place is a head of its own
    /// and holds nothing back.
    pub ordered: bool,
    /// The destinations of an all-or-nothing route that have confirmed the row already.
    pub delivered: Vec<Arc<str>>,
    /// The time since a relay first had no route for the row, by the store's clock; `None` once a
    /// relay has one.
    pub unroutable_for: Option<Duration>,
    /// The row with its original position.
    pub row: OutboxRow,
}

/// One call of the seam.
#[derive(Clone, Debug)]
pub struct Advance {
    /// The lease of the shard.
    pub lease: Lease,
    /// The time for which the lease is to last from now.
    pub ttl: Duration,
    /// The outcomes since the last call.
    pub settled: Vec<Settlement>,
    /// The most pending rows to return; 0 only settles.
    pub pending: usize,
    /// The most due held rows to return; 0 for none.
    pub held: usize,
    /// The revision of the held rows that the relay knows; `None` or another one returns
    /// [`Advanced::streams`].
    pub revision: Option<i64>,
    /// Routes whose held rows are not wanted now, because a destination is unavailable: none of
    /// their rows is returned or counted as due.
    pub without: Vec<Arc<str>>,
    /// True if published rows are kept until [`RelayStore::prune`] removes them; else they are
    /// deleted.
    pub keep_published: bool,
}

/// The answer of [`RelayStore::advance`].
#[derive(Clone, Debug, Default)]
pub struct Advanced {
    /// The next rows, in position order.
    pub pending: Vec<OutboxRow>,
    /// Due heads with their followers, each stream in position order.
    pub held: Vec<HeldRow>,
    /// True if followers of those heads were left out although fewer rows than asked for are
    /// returned.
    pub is_cut: bool,
    /// The revision of the held rows.
    pub revision: i64,
    /// The streams that are held back or parked in this shard, if the revision differs from the one
    /// that the relay knew.
    pub streams: Option<Vec<StreamKey>>,
    /// The tenants that an operator has paused, said together with `streams`. Pending rows of
    /// theirs are still returned; held ones are not.
    pub paused_tenants: Vec<String>,
    /// The recorded handlers, in the order of their names, said together with `streams`.
    pub handlers: Vec<RecordedHandler>,
    /// The time until the next held row is due that is not due yet, by the store's clock; `None`
    /// without one.
    pub next_due: Option<Duration>,
    /// The rows that this call made dead letters by itself. Those with the outcome
    /// [`Dead`](Outcome::Dead) are not among them.
    pub dead_rows: Vec<DeadRow>,
}

/// A row that became a dead letter because it cannot be read, or because the database refused to
/// record its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadRow {
    /// The name of the route under which it is dead.
    pub route: Arc<str>,
    /// [`NewDeadLetter::UNREADABLE`] or [`NewDeadLetter::UNSETTLED`].
    pub cause: &'static str,
    /// The tenant of its event, as far as that can be read.
    pub tenant_id: Option<String>,
}

/// A relay's sign of life.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// The relay that is alive.
    pub relay: RelayId,
    /// The time for which the relay and its leases count as alive from now.
    pub ttl: Duration,
    /// The lanes it serves; `None` serves all.
    pub lanes: Option<Vec<u16>>,
    /// True if the relay may take free shards, up to its fair share.
    pub claim: bool,
    /// True if it publishes, and does not only call handlers. From then on the outbox is one that
    /// is published, and relays that only call handlers are refused.
    pub publishes: bool,
    /// The handlers that it serves.
    pub handlers: Vec<ServedHandler>,
    /// Shards of its own that it may hand over, because none of their events is in flight. Those
    /// above its fair share are handed over, and the others kept. The relay works on none of them
    /// until the call returns.
    pub idle: Vec<ShardId>,
}

/// The holdings of a relay after a heartbeat.
#[derive(Clone, Debug, Default)]
pub struct Holdings {
    /// The leases that the relay held and still holds, or has just claimed.
    pub leases: Vec<Lease>,
    /// The shards claimed now from a relay that died: some of their events may be published twice.
    pub taken_over: Vec<ShardId>,
    /// The lanes of which the relay still holds more shards than its fair share: it should stop
    /// working on that many of each, and report them as idle next time.
    pub surplus: Vec<Surplus>,
    /// Shards outside of the recorded sharding that hold events: some process writes by another
    /// sharding. Any relay claims them, above its fair share.
    pub stray: Vec<ShardId>,
    /// The names of the recorded handlers, in order.
    pub handlers: Vec<Arc<str>>,
    /// The time of the store's clock, by which delays and deadlines are kept. `None` from a store
    /// without a clock.
    pub now: Option<DateTime<Utc>>,
}

/// The number of shards of a lane that a relay holds above its fair share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surplus {
    /// The shards of the lane.
    pub lane: Range<ShardId>,
    /// The number of shards to hand over, at least 1.
    pub shards: usize,
}

/// The published rows to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prune {
    /// Only rows that were published longer ago than this, by the store's clock.
    pub older_than: Duration,
    /// The most rows that one statement removes.
    pub batch: u32,
    /// The time from now for which no other relay prunes.
    pub every: Duration,
}

/// The database as the relay sees it.
///
/// `advance` and the rest may be called from several tasks at once, for different shards.
///
/// ```
/// use bento_core::envelope::Envelope;
/// use bento_core::outbox::OutboxEntry;
/// use bento_relay::{MemoryStore, RelayStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), bento_relay::StoreError> {
/// let store = MemoryStore::default();
/// let sharding = store.open().await?;
/// assert_eq!(sharding.lanes.get(), 1);
///
/// let envelope = Envelope::new("order.placed", 1, chrono::Utc::now(), "{}");
/// store.append([OutboxEntry { shard: 0, may_be_known: false, envelope }]);
/// assert_eq!(store.poll(&[0, 1], &[]).await?, [0]);
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a relay store",
    label = "the relay cannot read an outbox from this",
    note = "`OutboxStore` is one for PostgreSQL, MySQL, MariaDB and SQLite; `MemoryStore` for tests"
)]
pub trait RelayStore: fmt::Debug + Send + Sync + 'static {
    /// Returns the store for an application of this name. A store that records the owner of the
    /// outbox uses it; others ignore it.
    #[must_use]
    fn named(self, _application: &str) -> Self
    where
        Self: Sized,
    {
        self
    }

    /// The pool of connections that the store uses; `None` for a store without one, or if others
    /// may share it.
    fn pool(&self) -> Option<PoolId> {
        None
    }

    /// Reads the sharding of the outbox, and records it at the first use.
    ///
    /// # Errors
    /// [`StoreError::Mismatch`] if the database says otherwise, [`StoreError::OtherApplication`] if
    /// the outbox is not this application's.
    ///
    /// # Cancel safety
    /// The shards may be recorded or not. Calling it again records what is missing.
    fn open(&self) -> impl Future<Output = Result<Sharding, StoreError>> + Send;

    /// True if a relay has published from this outbox: one that only calls handlers would finish
    /// events that have to be published.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn is_published(&self) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Records the handlers of a process that starts, after it has opened the store and before its
    /// first heartbeat.
    ///
    /// # Errors
    /// As [`heartbeat`](Self::heartbeat).
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    fn record_handlers(
        &self,
        handlers: &[HandlerRoute],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the rows that are held and the dead letters, by the name of their route and in its
    /// order. A relay asks once after its start, and warns of names that nothing has any more. It
    /// reads whole tables; a store without an answer returns nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn leftovers(
        &self,
    ) -> impl Future<Output = Result<Vec<(Arc<str>, Leftovers)>, StoreError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// Renews all leases of a relay, claims free shards and hands over surplus ones. What the
    /// database has to record for a relay to work is recorded again where it is gone.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`StoreError::NotMigrated`] while a table is missing.
    /// [`StoreError::Unavailable`]: the leases run out unless a later call succeeds.
    ///
    /// # Cancel safety
    /// A relay drops it when the store does not answer in time. Parts of it may have happened, such
    /// as the claim of a shard; the next heartbeat answers with what is held. No lock may be left
    /// behind.
    fn heartbeat(
        &self,
        heartbeat: Heartbeat,
    ) -> impl Future<Output = Result<Holdings, StoreError>> + Send;

    /// Settles, checks and renews the lease, and returns what comes next, in one transaction.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`]: nothing was settled. [`StoreError::Unavailable`]: unclear,
    /// repeat. An error of [one shard](StoreError::is_of_one_shard): nothing was settled, and a
    /// call for no rows may still settle.
    ///
    /// # Cancel safety
    /// A relay drops it when the store does not answer in time, and repeats it. A dropped call has
    /// settled all or nothing, and leaves no lock behind.
    fn advance(
        &self,
        advance: Advance,
    ) -> impl Future<Output = Result<Advanced, StoreError>> + Send;

    /// Those of the leased shards that have pending rows or due held rows; as cheap as the back end
    /// allows. Held rows of the routes in `without` count for nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn poll(
        &self,
        shards: &[ShardId],
        without: &[Arc<str>],
    ) -> impl Future<Output = Result<Vec<ShardId>, StoreError>> + Send;

    /// Gives up all leases of a relay, so that others need not wait for them to run out, and
    /// forgets the relay.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the leases run out by themselves.
    ///
    /// # Cancel safety
    /// Some shards may be released. The others are free when their leases run out, or after another
    /// call.
    fn release(&self, relay: RelayId) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes published rows that were kept and are old enough, batch by batch, unless another
    /// relay does or did within [`Prune::every`]; then `None`. Returns how many it removed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: to be tried again after [`Prune::every`].
    ///
    /// # Cancel safety
    /// Some rows may be pruned. The others are when it is the next relay's turn.
    fn prune(&self, prune: Prune) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send;
}
