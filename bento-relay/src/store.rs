//! The seam between the relay and the database that holds the outbox.
//!
//! A relay owns shards by lease. For each it makes one call per batch, [`RelayStore::advance`]:
//! settle what was done, check and renew the lease, return the next rows, all in one transaction.
//! Everything else is bookkeeping around that call.
//!
//! What a store guarantees, and the conformance suite of `bento-testkit` proves:
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
//!   somebody does, its owner still holds it: `advance` and `heartbeat` renew it. Losing it is a
//!   change of owner or epoch, never the clock alone.
//! * **The fair share** of a relay is its part of the shards among the relays whose last heartbeat
//!   is younger than its ttl: with `n` relays serving `s` shards nobody claims more than `s / n`
//!   rounded up, and nobody is left with less than `s / n` rounded down once the others have given
//!   up their surplus. A row of a relay that is dead counts for nothing.
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
//!   route [`unreadable`](Burial::UNREADABLE). A parked stream has no due head.
//! * **A row that cannot be read** becomes a dead letter when it heads what is returned: a pending
//!   one for the route `unreadable`, a held one for its own. What is before it is returned first.
//!   Such a letter [names](crate::dead_letter::DeadLetter::raw) what the database shows of the row,
//!   and cannot be replayed.
//! * **A settlement that the database refuses** costs its row alone: that becomes a dead letter
//!   too, and the others are settled.
//! * **[`Advanced::streams`]** lists every stream of the shard that has a held row or is parked,
//!   after the settlements of the same call; never an event without order. It is returned when the
//!   known revision differs, so also for `None`.
//! * **The revision** changes whenever an operator replays or discards in the shard. It need not
//!   change with a settlement: the relay knows by itself which streams wait after its settlements,
//!   and asks again with `None` after one that may free a stream.
//! * **A settlement** whose row is gone (or no longer where the settlement expects it: pending, or
//!   held for the route) changes nothing and is no error: the call was repeated, or an operator was
//!   quicker. A row that is held or dead already for a route is not doubled.
//! * **A shard outside of the sharding** that holds pending or held rows is claimed by any relay,
//!   above its fair share, and told as [stray](Holdings::stray) by every heartbeat until it is
//!   empty.
//! * **A published row** that is kept is recognised when its event id is written again, until it is
//!   pruned. An event is kept once, when a pending row is confirmed by all or a held one is
//!   confirmed; a row that is held back or given up is not.
//! * **Releasing** a shard, by a hand-over or by [`RelayStore::release`], leaves it free at once. A
//!   shard claimed later from an owner that did not release it was [taken
//!   over](Holdings::taken_over).

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bento_core::envelope::Envelope;
use bento_core::outbox::{ShardId, Sharding};
use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use self::error::StoreError;
use crate::route;

mod error;

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
    /// What is leased.
    pub shard: ShardId,
    /// Who holds it.
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
    /// Its place in the shard.
    pub position: i64,
    /// The event.
    pub envelope: Arc<Envelope>,
}

/// A row that was held back for a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRow {
    /// The route it is held for: the name of its route.
    pub route: Arc<str>,
    /// How often it was tried.
    pub attempts: u32,
    /// Whether it keeps its place in its stream. One that does not is a head of its own and holds
    /// nothing back.
    pub ordered: bool,
    /// Those of an all-or-nothing route that have confirmed it already.
    pub delivered: Vec<Arc<str>>,
    /// The time since a relay first found no way for it, by the store's clock; `None` once a relay
    /// has found one.
    pub unroutable_for: Option<Duration>,
    /// The row with its original position.
    pub row: OutboxRow,
}

/// The outcome of one row, to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// A pending row is confirmed by every route it had: delete it.
    Published {
        /// The row.
        position: i64,
    },
    /// A pending row failed, or is behind one that did: move it to the held rows of one route.
    ///
    /// The last settlement that names the position deletes the pending row.
    Hold {
        /// The row.
        position: i64,
        /// For whom it is held.
        route: Arc<str>,
        /// Whether it keeps its place in its stream; see [`HeldRow::ordered`]. An event without
        /// order never does.
        ordered: bool,
        /// Why it is held.
        why: Held,
    },
    /// A pending row is given up at once: move it to the dead letters.
    Bury {
        /// The row.
        position: i64,
        /// For whom it is given up.
        route: Arc<str>,
        /// What is recorded.
        dead: Burial,
    },
    /// A held row is confirmed: delete it, its follower is due now.
    HeldPublished {
        /// The row.
        position: i64,
        /// For whom it was held.
        route: Arc<str>,
    },
    /// A held row failed again: it is due later.
    HeldFailed {
        /// The row.
        position: i64,
        /// For whom it is held.
        route: Arc<str>,
        /// What is recorded.
        failure: Failure,
    },
    /// The relay knows no way for a held row: it is due again after a wait, its attempts stay, and
    /// [`HeldRow::unroutable_for`] runs from the first such settlement until another one about the
    /// row.
    HeldUnroutable {
        /// The row.
        position: i64,
        /// For whom it is held.
        route: Arc<str>,
        /// What is recorded.
        obstacle: Unroutable,
    },
    /// A held row is given up: move it to the dead letters.
    HeldBury {
        /// The row.
        position: i64,
        /// For whom it was held.
        route: Arc<str>,
        /// What is recorded.
        dead: Burial,
    },
    /// A held row is given up for one route and goes to another instead, its fallback: it is held
    /// for that one, untried and due as soon as it heads its stream there. If it is held or dead
    /// for that one already, it only leaves the first. Several of these in one call move a row to
    /// several routes. A row that moves to where it is stays as it is.
    HeldMoved {
        /// The row.
        position: i64,
        /// For whom it was held.
        route: Arc<str>,
        /// For whom it is held from now on.
        to: Arc<str>,
        /// Whether it keeps its place in its stream there; see [`HeldRow::ordered`].
        ordered: bool,
    },
}

/// Why a pending row is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// It failed itself, and is due after a wait.
    Failed(Failure),
    /// It was not tried: an earlier one of its stream is held back, its route is away, or its
    /// tenant is paused. It is due as soon as it heads its stream.
    Behind,
    /// It is not to be delivered before a wait is over, by the store's clock from now.
    Delayed(Duration),
    /// The relay knows no way for it, and it is due again after a wait: [`HeldRow::unroutable_for`]
    /// runs from now.
    Unroutable(Unroutable),
}

/// Why a relay knows no way for a row that another relay may know one for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unroutable {
    /// The time until a relay looks at it again, by the store's clock from now.
    pub retry_after: Duration,
    /// The rule or route that is missing.
    pub error: String,
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How often the row was tried now. With none, it has not failed yet: its first failure is
    /// still to come.
    pub attempts: u32,
    /// How long to wait, by the store's clock from now.
    pub retry_after: Duration,
    /// Why it failed.
    pub error: String,
    /// Those of an all-or-nothing route that have confirmed it already.
    pub delivered: Vec<Arc<str>>,
}

/// Why and how a row was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burial {
    /// How often the row was tried.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub error: String,
    /// Why nobody tries again: one of the causes below.
    pub cause: Cow<'static, str>,
    /// Whether its aggregate is parked until an operator replays or discards it. Never for an event
    /// without order.
    pub parks: bool,
    /// Those of an all-or-nothing route that got it nevertheless.
    pub delivered: Vec<Arc<str>>,
}

impl Burial {
    /// The cause of a row that was tried as often as the retry policy allows.
    pub const MAX_ATTEMPTS: &'static str = "max attempts";
    /// The cause of a row whose failure will not pass by itself.
    pub const PERMANENT: &'static str = "permanent";
    /// The cause of a row that was not delivered before its deadline. The deadline stays what it
    /// is: a replay ends here again, unless the route or the event allows more time by then.
    /// Discard it instead.
    pub const EXPIRED: &'static str = "expired";
    /// The cause of a row that no relay found a way for within
    /// [`unroutable_after`](crate::RelaySettings::unroutable_after), or whose payload a rule cannot
    /// transform. It is the name, too, under which a row is held or dead whose routes are not known
    /// yet: that stands for all of them, and holds its whole aggregate back.
    pub const UNROUTABLE: &'static str = route::UNROUTABLE;
    /// The cause of a row that cannot be read. A pending one is given up for a route of this name
    /// as well, because its own are not known: a dead letter of this route that parks holds its
    /// aggregate back on every route.
    pub const UNREADABLE: &'static str = route::UNREADABLE;
    /// The cause of a row for which the database refused to record what became of it.
    pub const UNSETTLED: &'static str = "unsettled";
}

/// One call of the seam.
#[derive(Clone, Debug)]
pub struct Advance {
    /// The right in whose name it is made.
    pub lease: Lease,
    /// How long the lease is to last from now.
    pub ttl: Duration,
    /// What was done since the last call.
    pub settled: Vec<Settlement>,
    /// How many pending rows to return at most; 0 only settles.
    pub pending: usize,
    /// How many due held rows to return at most; 0 for none.
    pub held: usize,
    /// The revision of the held rows that the relay knows; `None` or another one returns
    /// [`Advanced::streams`].
    pub revision: Option<i64>,
    /// Destinations whose held rows are not wanted now, because they are away: none of theirs is
    /// returned or counted as due.
    pub without: Vec<Arc<str>>,
    /// Whether published rows are kept, until [`RelayStore::prune`] removes them, or deleted.
    pub keep_published: bool,
}

/// What [`RelayStore::advance`] returns.
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
    /// When the next held row is due that is not due yet, by the store's clock from now; `None`
    /// without one.
    pub next_due: Option<Duration>,
    /// Rows that this call made dead letters by itself. A row that the relay asked to
    /// [bury](Settlement::Bury) is not among them.
    pub given_up: Vec<GivenUp>,
}

/// A row that became a dead letter because it cannot be read, or because the database refused to
/// record what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// The name of the route under which it is dead.
    pub route: Arc<str>,
    /// [`Burial::UNREADABLE`] or [`Burial::UNSETTLED`].
    pub cause: &'static str,
    /// The tenant of its event, as far as that can be read.
    pub tenant_id: Option<String>,
}

/// A relay's sign of life.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// Who is alive.
    pub relay: RelayId,
    /// How long it and its leases count as alive from now.
    pub ttl: Duration,
    /// The lanes it serves; `None` serves all.
    pub lanes: Option<Vec<u16>>,
    /// Whether it may take shards that are free, up to its fair share.
    pub claim: bool,
    /// Shards of its own that it may give up, because nothing of theirs is in flight; as many as
    /// are above its fair share are handed over, and the others kept. The relay works on none of
    /// them until the call returns.
    pub idle: Vec<ShardId>,
}

/// What a relay holds after a heartbeat.
#[derive(Clone, Debug, Default)]
pub struct Holdings {
    /// The leases that the relay held and still holds, or has just claimed.
    pub leases: Vec<Lease>,
    /// Of those claimed now, the ones taken from a relay that died: something of theirs may be
    /// published twice.
    pub taken_over: Vec<ShardId>,
    /// How many shards above its fair share it still holds: so many should it stop working on and
    /// report as idle next time.
    pub surplus: usize,
    /// Shards outside of the recorded sharding that hold events: some process writes by another
    /// sharding. Any relay claims them, above its fair share.
    pub stray: Vec<ShardId>,
    /// The store's clock, read by the call: by it delays and deadlines are kept. `None` from a
    /// store that has none.
    pub now: Option<DateTime<Utc>>,
}

/// What to remove of the published rows that were kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prune {
    /// Only rows that were published longer ago than this, by the store's clock.
    pub older_than: Duration,
    /// How many rows one statement removes at most.
    pub batch: u32,
    /// How long nobody else prunes from now.
    pub every: Duration,
}

/// The database as the relay sees it.
///
/// `advance` and the rest may be called from several tasks at once, for different shards.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a relay store",
    label = "the relay cannot read an outbox from this",
    note = "`OutboxStore` is one for PostgreSQL, MySQL, MariaDB and SQLite; `MemoryStore` for tests"
)]
pub trait RelayStore: fmt::Debug + Send + Sync + 'static {
    /// The store of an application with this name, for a store that records to whom the outbox
    /// belongs; others ignore it.
    #[must_use]
    fn named(self, _application: &str) -> Self
    where
        Self: Sized,
    {
        self
    }

    /// Reads how the outbox is divided, and records it if this is its first use.
    ///
    /// # Errors
    /// [`StoreError::Mismatch`] if the database says otherwise, [`StoreError::OtherApplication`] if
    /// the outbox is not this application's.
    ///
    /// # Cancel safety
    /// The shards may be recorded or not. Calling it again records what is missing.
    fn open(&self) -> impl Future<Output = Result<Sharding, StoreError>> + Send;

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
