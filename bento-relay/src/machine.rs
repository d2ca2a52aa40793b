//! The decisions of a relay about one shard, without I/O, clock or task: they can be simulated.
//!
//! Decision: docs/decisions/0006-the-relay-decides-in-a-pure-machine.md
//!
//! The machine takes what [`RelayStore::advance`](crate::store::RelayStore::advance) returned,
//! hands out waves of deliveries, takes the answers to them, and yields settlements for the next
//! call. Progress is kept by route and aggregate: a *stream* is the events of one aggregate on one
//! route. The rules, each a test:
//!
//! 1. A wave goes to one destination and holds at most one event of a stream, and the next one of
//!    the stream only after that is confirmed; unless the publisher chains, then the batch is one
//!    wave. Waves of different destinations do not wait for each other.
//! 2. After a failure nothing later of the stream is sent: pending followers are held, held ones
//!    stay as they are. A route that says *continue* holds nothing back, and its failed
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
//!    to the missing ones only; a dead letter names those that got it.
//! 8. An event that is not to be delivered yet is held until then, without a place unless its route
//!    keeps order. One whose time is over is a dead letter that parks nothing.
//! 9. An event for which this relay has no route is held, with the later events of its aggregate,
//!    and looked at again; it is a dead letter when no relay has a route for long enough. An event
//!    that was sampled out is done.
//! 10. Events for a destination that is unavailable, and events of a paused tenant or for a paused
//!     handler, are held untried.
//! 11. An event counts an attempt only for an answer about itself. While its destination cannot be
//!     asked it is held, with a wait of its own. The events of a wave that failed as a whole are
//!     sent again one by one, those of a wave whose publisher panicked in parts.
//! 12. A wave that is [postponed](Machine::postpone) is late: its batch ends without it. Its events
//!     are held, with no attempt counted, for as long as their answer may take; nothing of their
//!     streams overtakes. When it comes back, after any number of batches, each is settled as if it
//!     had been in that batch. If it never does, they are due by themselves, and what it would have
//!     said is ignored.
//! 13. A destination that answers one by one gets each event in a wave of its own, as many as have
//!     slots. A late one of them leaves the others as they are. When the batch ends, those
//!     that have not begun are held untried.
//!
//! Waits are durations from now by the store's clock. The time of day, for delays and deadlines, is
//! told with each batch.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bento_core::envelope::Envelope;
use chrono::{DateTime, Utc};

pub(super) use self::answers::TOO_FEW_ANSWERS;
use self::batch::Batch;
pub(crate) use self::batch_size::BatchSize;
use self::close::Late;
use self::handlers::Handlers;
pub(crate) use self::handlers::OwnHandlers;
pub(crate) use self::outlet::Wave;
use self::streams::Blocked;
use self::unreached::Unreached;
pub(crate) use self::unroutable::{Missing, UNROUTABLE_AFTER};
use crate::publish::{Answering, Delivery, Destination, FailureClass};
use crate::retry::RetryPolicies;
use crate::route::{Route, RouteError, Router, Target, Targets};
use crate::store::{Advanced, NewDeadLetter, Outcome, Place, Settlement};

mod answers;
mod batch;
mod batch_size;
mod close;
mod handlers;
mod intake;
mod leg;
mod outlet;
mod streams;
#[cfg(test)]
mod tests;
mod unreached;
mod unroutable;

/// The decisions about one shard, from one `advance` to the next.
#[derive(Debug)]
pub(crate) struct Machine<R = Router> {
    router: R,
    retry: RetryPolicies,
    random: fastrand::Rng,
    blocked: Blocked,
    paused: HashSet<String>,
    handlers: Handlers,
    revision: Option<i64>,
    batch: Batch,
    late: Late,
    unreached: Unreached,
    /// The time for which an event without a route is looked at before it is a dead letter.
    unroutable_after: Duration,
    /// The name of the route under which such events are held: the queue of their aggregates.
    queue: Arc<str>,
    missing: BTreeSet<Missing>,
    settled: Vec<Settlement>,
    spare: Vec<Delivery>,
    /// The size of the next batch, kept with the shard from one worker to the next.
    pub(crate) batch_size: BatchSize,
}

/// The questions of the machine to a [`Router`].
pub(crate) trait Routing {
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

/// The state of a destination, asked for once in a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// True if the publisher serves the destination.
    pub(crate) is_served: bool,
    /// True if the publisher takes several events of an aggregate at once; see
    /// [`chains`](crate::publish::Publisher::chains).
    pub(crate) chains: bool,
    /// The way in which the publisher answers for it; see
    /// [`answering`](crate::publish::Publisher::answering).
    pub(crate) answering: Answering,
    /// The admission of the destination in this batch.
    pub(crate) admission: Admission,
}

/// The admission of a destination in this batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is available.
    Open,
    /// It was unavailable: one held and one pending event may be tried, each alone, and the rest if
    /// that succeeds.
    Trial,
    /// It is unavailable.
    Away,
    /// All its calls are taken, and it could not begin those of an earlier batch.
    Busy,
}

/// The decision about one event on one route, as an observer is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Decision<'a> {
    /// The broker confirmed it.
    Published,
    /// It failed and is tried again.
    Retry {
        /// The number of attempts.
        attempts: u32,
        /// The wait.
        after: Duration,
        /// The class of the failure.
        class: FailureClass,
        /// The error.
        error: &'a str,
    },
    /// It failed, and goes to the fallback of its route.
    FellBack {
        /// The number of attempts.
        attempts: u32,
        /// The name of the fallback.
        to: &'a str,
        /// The error.
        error: &'a str,
    },
    /// It is a dead letter.
    Dead {
        /// The number of attempts.
        attempts: u32,
        /// The cause of the dead letter.
        cause: &'static str,
        /// The error.
        error: &'a str,
    },
    /// It was not sent.
    HeldBack(Reason),
    /// It is not to be delivered yet.
    Delayed {
        /// The wait.
        wait: Duration,
    },
    /// Its batch ends without its answer; it is held until the answer comes.
    Late,
    /// This relay has no route for it: it is held, because another relay may have one.
    Unroutable {
        /// True the first time.
        is_new: bool,
        /// The rule or destination that is missing.
        error: &'a str,
    },
    /// Every rule that applies has sampled it out.
    Filtered,
}

impl Decision<'_> {
    /// The name in metrics.
    pub(crate) fn status(&self) -> &'static str {
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

/// The reason for which an event was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// An earlier event of its stream is held back or parked.
    Order,
    /// Its destination is unavailable.
    Away,
    /// All calls of its destination are taken.
    Busy,
    /// Its tenant or its handler is paused.
    Paused,
    /// The batch ended before its turn came, and another destination has it already.
    Unfinished,
}

impl Reason {
    /// The reason in words, for a log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Order => "an earlier event of its aggregate is held back",
            Self::Away => "its destination is unavailable",
            Self::Busy => "its destination has no free call",
            Self::Paused => "its tenant or its handler is paused",
            Self::Unfinished => "the batch ended before its turn",
        }
    }
}

/// An observer that is told of each decision.
pub(crate) trait Observer {
    /// Takes the decision about an event on a route; the name of the route is empty if it has none.
    fn decided(&mut self, envelope: &Envelope, route: &str, decision: Decision<'_>);
}

impl<F: FnMut(&Envelope, &str, Decision<'_>)> Observer for F {
    fn decided(&mut self, envelope: &Envelope, route: &str, decision: Decision<'_>) {
        self(envelope, route, decision);
    }
}

impl<R: Routing> Machine<R> {
    /// A machine that knows nothing of its shard yet. `retry` is for routes without policies of
    /// their own; `seed` decides the jitter of the retries.
    pub(crate) fn new(router: R, retry: RetryPolicies, seed: u64) -> Self {
        Self {
            router,
            retry,
            random: fastrand::Rng::with_seed(seed),
            blocked: Blocked::default(),
            paused: HashSet::new(),
            handlers: Handlers::default(),
            revision: None,
            batch: Batch::default(),
            late: Late::default(),
            unreached: Unreached::default(),
            unroutable_after: UNROUTABLE_AFTER,
            queue: Arc::from(NewDeadLetter::UNROUTABLE),
            missing: BTreeSet::new(),
            settled: Vec::new(),
            spare: Vec::new(),
            batch_size: BatchSize::default(),
        }
    }

    /// The revision of the held rows that the machine knows, for the next call of the store.
    pub(crate) fn revision(&self) -> Option<i64> {
        self.revision
    }

    /// Takes the next batch: what a call for `held_limit` held rows returned, at `now` by the
    /// store's clock. [`close`](Self::close) the earlier batch before, or its rest is forgotten.
    pub(crate) fn take(
        &mut self,
        advanced: Advanced,
        held_limit: usize,
        now: DateTime<Utc>,
        reach: &mut impl FnMut(&Destination) -> Reach,
        observer: &mut impl Observer,
    ) {
        self.batch.clear();
        self.revision = Some(advanced.revision);
        if let Some(streams) = advanced.streams {
            self.blocked = Blocked::from_iter(streams);
            self.paused = HashSet::from_iter(advanced.paused_tenants);
            self.handlers.record(advanced.handlers);
        }
        // A full page may have left out a held row of a stream that pending rows are behind.
        let all_held_are_here = advanced.held.len() < held_limit && !advanced.is_cut;
        // Held rows first: a pending row may only follow what is held of its stream.
        for held in advanced.held {
            self.take_held(held, now, reach, observer);
        }
        for row in advanced.pending {
            self.take_pending(row, all_held_are_here, now, reach, observer);
        }
    }

    /// Returns the settlements so far, each once.
    pub(crate) fn take_settlements(&mut self) -> Vec<Settlement> {
        let settled = std::mem::take(&mut self.settled);
        if settled.iter().any(may_free_a_stream) {
            // The next call of the store returns the streams again.
            self.revision = None;
        }
        settled
    }

    /// Takes settlements back that could not be recorded.
    /// [`take_settlements`](Self::take_settlements) hands them out again first.
    pub(crate) fn put_back(&mut self, mut unsettled: Vec<Settlement>) {
        unsettled.append(&mut self.settled);
        self.settled = unsettled;
    }
}

/// True if a stream may go on after this, so that the list of streams that wait is to be read
/// again. The machine knows by itself which streams a settlement adds.
fn may_free_a_stream(settlement: &Settlement) -> bool {
    settlement.place == Place::Held
        && match &settlement.outcome {
            Outcome::Published | Outcome::Moved { .. } => true,
            Outcome::Dead(dead) => !dead.parks,
            Outcome::Retry(_) | Outcome::Behind | Outcome::Delayed(_) | Outcome::Unroutable(_) => {
                false
            }
        }
}
