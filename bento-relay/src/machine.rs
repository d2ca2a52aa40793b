//! What a relay decides about one shard, without I/O, clock or task: it can be simulated.
//!
//! The machine takes what [`RelayStore::advance`](crate::store::RelayStore::advance) returned,
//! hands out waves of deliveries, takes the answers to them, and yields settlements for the next
//! call. Progress is kept by route and aggregate: a *stream* is what an aggregate raised for one
//! route. The rules, each a test:
//!
//! 1. A wave goes to one destination and holds at most one event of a stream, and the next one of
//!    the stream only after that is confirmed; unless the publisher chains, then the batch is one
//!    wave. Waves of different destinations do not wait for each other.
//! 2. After a failure nothing later of the stream is sent: pending followers are held back, held
//!    ones stay where they are. A route that says *continue* holds nothing back, and its failed
//!    events are held without a place.
//! 3. A pending row of a stream that is held or parked is held back unsent, unless all that is held
//!    of the stream is in the same batch: then it comes after that.
//! 4. A permanent failure, or the last attempt that the policy allows, is a dead letter; it parks
//!    its stream. With a fallback it is held for that instead, and parks nothing: what follows goes
//!    on with the next batch.
//! 5. Events without order neither hold back nor park anything.
//! 6. Every row that was answered is settled exactly once; what was not answered is not settled. A
//!    row with several targets is settled when all are answered; if the batch ends before, and one
//!    has confirmed or moved it, the rest is held untried. Then every earlier unanswered row of the
//!    same streams is held as well, so that nothing overtakes.
//! 7. A route to several destinations is confirmed when all of them have. What is tried again goes
//!    to the missing ones only; what is given up names those that got it.
//! 8. An event that is not to be delivered yet is held until then, without a place unless its route
//!    keeps order. One whose time is over is a dead letter that parks nothing.
//! 9. An event that this relay finds no way for is held, with what its aggregate raises later, and
//!    looked at again; it is a dead letter when no relay has found one for long enough. One that
//!    was sampled out is done.
//! 10. What is to go to a destination that is away, and what belongs to a paused tenant, is held
//!     untried.
//! 11. An event counts an attempt only for an answer about itself. While its destination cannot be
//!     asked it is held, with a wait of its own. What failed as a whole is sent again one by one,
//!     and a wave whose publisher panicked in parts.
//! 12. A wave that is [postponed](Machine::postpone) is late: its batch ends without it. Its events
//!     are held, with no attempt counted, for as long as their answer may take; nothing of their
//!     streams overtakes. When it comes back, after any number of batches, each is settled as if it
//!     had been in that batch. If it never does, they are due by themselves, and what it would have
//!     said is ignored.
//!
//! Waits are durations from now by the store's clock. The time of day, for delays and deadlines, is
//! told with each batch.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bento_core::envelope::Envelope;
use chrono::{DateTime, Utc};

pub(super) use self::answers::TOO_FEW_ANSWERS;
use self::batch::Batch;
pub(crate) use self::batch_size::BatchSize;
use self::late::Late;
pub use self::outlet::Wave;
use self::streams::Streams;
use self::unreached::Unreached;
use self::unroutable::Unknown;
pub(crate) use self::unroutable::{Missing, UNROUTABLE_AFTER};
use crate::publish::{Delivery, Destination, FailureClass};
use crate::retry::RetryPolicies;
use crate::route::{Route, RouteError, Router, Target, Targets};
use crate::store::{Advanced, Settlement};

mod answers;
mod batch;
mod batch_size;
mod close;
mod intake;
mod late;
mod outlet;
mod streams;
#[cfg(test)]
mod tests;
mod unreached;
mod unroutable;

/// The decisions about one shard, from one `advance` to the next.
#[derive(Debug)]
pub struct Machine<R = Router> {
    router: R,
    retry: RetryPolicies,
    random: fastrand::Rng,
    blocked: Streams,
    paused: HashSet<String>,
    revision: Option<i64>,
    batch: Batch,
    late: Late,
    unreached: Unreached,
    unroutable: Unknown,
    settled: Vec<Settlement>,
    spare: Vec<Delivery>,
    /// The size of the next batch, kept with the shard from one worker to the next.
    pub(crate) batch_size: BatchSize,
}

/// What the machine asks of a [`Router`].
pub trait Routing {
    /// See [`Router::route`].
    ///
    /// # Errors
    /// [`RouteError`].
    fn route(&self, envelope: &Arc<Envelope>) -> Result<Targets, RouteError>;

    /// See [`Router::resume`].
    ///
    /// # Errors
    /// [`RouteError`].
    fn resume(&self, envelope: &Arc<Envelope>, name: &str) -> Result<Target, RouteError>;

    /// The route of this name, if a rule names it.
    fn named(&self, name: &str) -> Option<&Arc<Route>>;
}

impl Routing for Router {
    fn route(&self, envelope: &Arc<Envelope>) -> Result<Targets, RouteError> {
        self.route(envelope)
    }

    fn resume(&self, envelope: &Arc<Envelope>, name: &str) -> Result<Target, RouteError> {
        self.resume(envelope, name)
    }

    fn named(&self, name: &str) -> Option<&Arc<Route>> {
        self.routes().find(|route| *route.name == *name)
    }
}

/// What the machine is told with a batch.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// How many held rows were asked for.
    pub held_limit: usize,
    /// The time, by the store's clock.
    pub now: DateTime<Utc>,
}

/// What the machine asks about destinations, once for each in a batch.
pub trait Reach {
    /// Whether the publisher knows the way.
    fn serves(&self, destination: &Destination) -> bool;

    /// Whether the publisher takes several events of an aggregate at once; see
    /// [`chains`](crate::publish::Publisher::chains).
    fn chains(&self, destination: &Destination) -> bool;

    /// Whether anything may be sent there now.
    fn admit(&mut self, destination: &Destination) -> Admission;
}

/// Whether anything may be sent to a destination in this batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is there.
    Open,
    /// It was away: one held and one pending event may be tried, each alone, and the rest if that
    /// goes well.
    Trial,
    /// It is away.
    Away,
}

/// What became of one event on one route.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome<'a> {
    /// The broker confirmed it.
    Published,
    /// It failed and is tried again.
    Retry {
        /// How often it was tried.
        attempts: u32,
        /// How long it waits.
        after: Duration,
        /// What the failure means.
        class: FailureClass,
        /// Why it failed.
        error: &'a str,
    },
    /// It failed, and goes to the fallback of its route.
    FellBack {
        /// How often it was tried.
        attempts: u32,
        /// Where it goes now.
        to: &'a str,
        /// Why it failed.
        error: &'a str,
    },
    /// It is given up.
    Dead {
        /// How often it was tried.
        attempts: u32,
        /// Why nobody tries again.
        cause: &'static str,
        /// Why it failed.
        error: &'a str,
    },
    /// It was not sent.
    HeldBack(Reason),
    /// It is not to be delivered yet.
    Delayed {
        /// How long it waits.
        wait: Duration,
    },
    /// It is waited for no longer in its batch, and is held until its answer comes.
    Late,
    /// This relay finds no way for it: it is held, because another relay may know one.
    Unroutable {
        /// True if no relay has found so before.
        is_new: bool,
        /// The rule or destination that is missing.
        error: &'a str,
    },
    /// Every rule that applies has sampled it out: it goes nowhere.
    Filtered,
}

impl Outcome<'_> {
    /// The name in metrics.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Retry { .. } => "retried",
            Self::FellBack { .. } => "fallen_back",
            Self::Dead { .. } => "dead",
            Self::HeldBack(_) => "held",
            Self::Delayed { .. } => "delayed",
            Self::Late => "late",
            Self::Unroutable { .. } => "unroutable",
            Self::Filtered => "filtered",
        }
    }
}

/// Why an event was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// An earlier event of its stream is held back or parked.
    Order,
    /// Its destination is away.
    Away,
    /// Its tenant is paused.
    Paused,
    /// The batch ended before its turn came, and another destination has it already.
    Unfinished,
}

impl Reason {
    /// The reason in words, for a log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Order => "an earlier event of its aggregate is held back",
            Self::Away => "its destination is away",
            Self::Paused => "its tenant is paused",
            Self::Unfinished => "the batch ended before its turn",
        }
    }
}

/// Told of each outcome, as it is decided.
pub trait Observer {
    /// `envelope` came out as `outcome` on the route `destination`, which is empty if it has none.
    fn outcome(&mut self, envelope: &Envelope, destination: &str, outcome: Outcome<'_>);
}

impl<F: FnMut(&Envelope, &str, Outcome<'_>)> Observer for F {
    fn outcome(&mut self, envelope: &Envelope, destination: &str, outcome: Outcome<'_>) {
        self(envelope, destination, outcome);
    }
}

impl<R: Routing> Machine<R> {
    /// A machine that knows nothing of its shard yet. `retry` is for routes without policies of
    /// their own; `seed` decides the jitter of the retries.
    pub fn new(router: R, retry: RetryPolicies, seed: u64) -> Self {
        Self {
            router,
            retry,
            random: fastrand::Rng::with_seed(seed),
            blocked: Streams::default(),
            paused: HashSet::new(),
            revision: None,
            batch: Batch::default(),
            late: Late::default(),
            unreached: Unreached::default(),
            unroutable: Unknown::default(),
            settled: Vec::new(),
            spare: Vec::new(),
            batch_size: BatchSize::default(),
        }
    }

    /// What to ask the store with: the revision of the held rows that the machine knows.
    pub fn revision(&self) -> Option<i64> {
        self.revision
    }

    /// Takes the next batch. What is left of an earlier one is forgotten: [`close`](Self::close) it
    /// before.
    pub fn take(
        &mut self,
        advanced: Advanced,
        circumstances: Circumstances,
        reach: &mut impl Reach,
        observer: &mut impl Observer,
    ) {
        self.batch.clear();
        self.revision = Some(advanced.revision);
        if let Some(streams) = advanced.streams {
            self.blocked = Streams::from_iter(streams);
            self.paused = HashSet::from_iter(advanced.paused_tenants);
        }
        let Circumstances { held_limit, now } = circumstances;
        let all_held_are_here = advanced.held.len() < held_limit && !advanced.is_cut;
        for held in advanced.held {
            self.take_held(held, now, reach, observer);
        }
        for row in advanced.pending {
            self.take_pending(row, all_held_are_here, now, reach, observer);
        }
    }

    /// What to record of the answers so far, each of it once.
    pub fn take_settlements(&mut self) -> Vec<Settlement> {
        let settled = std::mem::take(&mut self.settled);
        if settled.iter().any(may_free_a_stream) {
            self.revision = None;
        }
        settled
    }

    /// Takes settlements back that could not be recorded.
    /// [`take_settlements`](Self::take_settlements) hands them out again first.
    pub fn put_back(&mut self, mut unsettled: Vec<Settlement>) {
        unsettled.append(&mut self.settled);
        self.settled = unsettled;
    }
}

/// Whether a stream may go on after this, so that the list of streams that wait is to be read
/// again. What adds one to them the machine knows by itself.
fn may_free_a_stream(settlement: &Settlement) -> bool {
    match settlement {
        Settlement::Published { .. }
        | Settlement::Hold { .. }
        | Settlement::Bury { .. }
        | Settlement::HeldFailed { .. }
        | Settlement::HeldUnroutable { .. } => false,
        Settlement::HeldPublished { .. } | Settlement::HeldMoved { .. } => true,
        Settlement::HeldBury { dead, .. } => !dead.parks,
    }
}
