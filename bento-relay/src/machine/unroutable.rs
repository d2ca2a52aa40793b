//! Events for which this relay has no route, and another one may: they are held, looked at again,
//! and dead letters in the end.
//!
//! A held row whose routes are not known stands under [`NewDeadLetter::UNROUTABLE`], which is the
//! queue of its aggregate: the later events of the aggregate wait behind it, because they may have
//! to follow it on any route. Its head moves to its routes as soon as a relay knows them, and takes
//! its place there by its position. An event that names a destination which is not known is held
//! under that name.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bento_core::envelope::Envelope;
use chrono::{DateTime, Utc};

use super::intake::still_to_wait;
use super::leg::Leg;
use super::{Decision, Machine, Observer, Reason, Routing};
use crate::publish::Destination;
use crate::route::{HeadOfLine, RouteError, Targets, is_reserved};
use crate::store::{NewDeadLetter, Outcome, Settlement, Unroutable};

/// The longest time until an unroutable event is looked at again, so that a relay that takes its
/// shard over sees it soon.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The most missing things that a relay reports.
const MISSING_MAX: usize = 20;

/// The longest name of a destination, in bytes.
const NAME_MAX: usize = 128;

/// Something that an event needs and this relay does not have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Missing {
    /// A rule for an event type.
    Rule(String),
    /// A destination or an all-or-nothing rule of this name, or a publisher that serves it.
    Destination(String),
    /// The form in which a later release writes routing, found in an event of this type.
    Form(String),
    /// A release that knows the version of an event of this type, for a handler.
    Version { handler: String, event_type: String },
}

/// The default time for which an event that no rule takes is looked at.
pub(crate) const UNROUTABLE_AFTER: Duration = Duration::from_secs(60 * 60);

/// The destinations that an event names and this relay does not know.
type Unnamed = Vec<(Arc<str>, RouteError)>;

impl<R: Routing> Machine<R> {
    /// Sets the time for which an event without a route is looked at before it is a dead letter.
    #[must_use]
    pub(crate) fn unroutable_after(mut self, patience: Duration) -> Self {
        self.unroutable_after = patience;
        self
    }

    pub(super) fn note_missing(&mut self, missing: Missing) {
        if self.missing.len() < MISSING_MAX {
            self.missing.insert(missing);
        }
    }

    /// Returns the things that events needed since the last call and this relay does not have, at
    /// most twenty.
    pub(crate) fn take_missing(&mut self) -> BTreeSet<Missing> {
        std::mem::take(&mut self.missing)
    }

    /// True if an event waits in the queue of its aggregate, whatever its routes are.
    pub(super) fn is_queued(&self, envelope: &Arc<Envelope>, all_held_are_here: bool) -> bool {
        let queue = &self.queue;
        if !envelope.is_ordered() || !self.blocked.contains(queue, envelope) {
            return false;
        }
        let has_left = self
            .batch
            .tail(queue, envelope)
            .is_some_and(|tail| tail.has_held && !tail.is_stopped);
        !(has_left && all_held_are_here)
    }

    /// Returns the targets of an event, those of handlers among them, and, apart, the destinations
    /// that it names itself and this relay does not know.
    pub(super) fn places(
        &self,
        position: i64,
        envelope: &Arc<Envelope>,
    ) -> Result<(Targets, Unnamed), RouteError> {
        let (mut targets, unnamed) = match self.places_by_rules(envelope) {
            Ok(places) => places,
            // A release that names the event in a handler, and in no rule, has no other place.
            Err(RouteError::NoRule { .. }) if self.handlers.know(position, envelope) => {
                Default::default()
            }
            Err(error) => return Err(error),
        };
        self.handlers.extend(&mut targets, position, envelope)?;
        Ok((targets, unnamed))
    }

    fn places_by_rules(&self, envelope: &Arc<Envelope>) -> Result<(Targets, Unnamed), RouteError> {
        let unknown = match self.router.route(envelope) {
            Ok(targets) => return Ok((targets, Unnamed::new())),
            Err(error @ RouteError::UnknownDestination { .. }) => error,
            Err(error) => return Err(error),
        };
        let mut own = envelope
            .routing()
            .map(|routing| routing.destinations)
            .unwrap_or_default();
        let mut seen = BTreeSet::new();
        own.retain(|name| seen.insert(name.clone()));
        // A name that no destination can have does not fit the column, or stands for the queue.
        if own.is_empty() || own.iter().any(|name| !can_be_named(name)) {
            return Err(unknown);
        }
        let (mut targets, mut unnamed) = (Targets::new(), Unnamed::new());
        for name in own {
            match self.resume(envelope, &name) {
                Ok(target) => targets.push(target),
                Err(error @ RouteError::UnknownDestination { .. }) => {
                    unnamed.push((Arc::from(name), error))
                }
                Err(error) => return Err(error),
            }
        }
        Ok((targets, unnamed))
    }

    /// Holds a pending event under a name that is not known, or under the queue; without an error
    /// it follows an earlier one.
    pub(super) fn add_unknown(
        &mut self,
        leg: Leg,
        error: Option<&RouteError>,
        is_paused: bool,
        observer: &mut impl Observer,
    ) {
        let leg = Leg {
            holds: leg.envelope.is_ordered(),
            ..leg
        };
        match error {
            _ if is_paused => self.add_held(leg, Reason::Paused, observer),
            None => self.add_held(leg, Reason::Order, observer),
            Some(error) => self.add_unroutable(leg, error, None, observer),
        }
    }

    /// Asks the rules again about an event of the queue, and moves it to where they send it.
    pub(super) fn route_anew(
        &mut self,
        leg: Leg,
        unroutable_for: Option<Duration>,
        now: DateTime<Utc>,
        observer: &mut impl Observer,
    ) {
        let (targets, unnamed) = match self.places(leg.position, &leg.envelope) {
            Ok(places) => places,
            Err(error) => return self.add_unroutable(leg, &error, unroutable_for, observer),
        };
        // A row that moved to where it is would be deleted there.
        if targets.iter().any(|target| target.route.name == leg.name) {
            let error = RouteError::UnknownDestination {
                name: leg.name.to_string(),
            };
            return self.add_unroutable(leg, &error, unroutable_for, observer);
        }
        self.batch.note_left(&leg.name, &leg.envelope, leg.holds);
        let Leg {
            position,
            name,
            envelope,
            ..
        } = leg;
        if targets.is_empty() && unnamed.is_empty() {
            self.settled
                .push(Settlement::held(position, name, Outcome::Published));
            return observer.decided(&envelope, "", Decision::Filtered);
        }
        let is_ordered = envelope.is_ordered();
        let known = targets.into_iter().map(|target| {
            let keeps_place = target.route.keeps_order || still_to_wait(&target, now).is_none();
            let ordered =
                is_ordered && keeps_place && target.route.head_of_line == HeadOfLine::Hold;
            (Arc::clone(&target.route.name), ordered)
        });
        for (to, ordered) in known.chain(unnamed.into_iter().map(|(name, _)| (name, is_ordered))) {
            if ordered {
                // It goes there with the next batch, and nothing later before it.
                self.batch.stop(&to, &envelope);
                self.blocked.insert(&to, &envelope);
            }
            let moved = Settlement::held(position, Arc::clone(&name), Outcome::Moved { to });
            self.settled.push(moved.ordered(ordered));
        }
    }

    /// Holds an event that another relay may have a route for, or makes it a dead letter when none
    /// had one for long enough.
    pub(super) fn add_unroutable(
        &mut self,
        leg: Leg,
        error: &RouteError,
        unroutable_for: Option<Duration>,
        observer: &mut impl Observer,
    ) {
        let missing = match error {
            RouteError::NoRule { event_type } => Some(Missing::Rule(event_type.clone())),
            RouteError::UnknownDestination { name } => Some(Missing::Destination(name.clone())),
            RouteError::UnknownForm { .. } => {
                Some(Missing::Form(leg.envelope.event_type.clone().into_owned()))
            }
            RouteError::Invalid { .. } => None,
        };
        self.add_unroutable_or_dead(leg, missing, error.to_string(), unroutable_for, observer);
    }

    /// As [`add_unroutable`](Self::add_unroutable), for a destination that no publisher of this
    /// relay serves.
    pub(super) fn add_unserved(
        &mut self,
        leg: Leg,
        destination: &Destination,
        unroutable_for: Option<Duration>,
        observer: &mut impl Observer,
    ) {
        let (name, publisher) = (&destination.name, destination.publisher());
        let error = format!("no publisher serves destination `{name}` (`{publisher}`)");
        self.add_unroutable_or_dead(
            leg,
            Some(Missing::Destination(name.to_string())),
            error,
            unroutable_for,
            observer,
        );
    }

    pub(super) fn add_unroutable_or_dead(
        &mut self,
        leg: Leg,
        missing: Option<Missing>,
        error: String,
        unroutable_for: Option<Duration>,
        observer: &mut impl Observer,
    ) {
        // A relay of a newer release may have what is missing here: it gets time to start.
        let left = self
            .unroutable_after
            .saturating_sub(unroutable_for.unwrap_or_default());
        let Some(missing) = missing.filter(|_| !left.is_zero()) else {
            return self.add_dead(leg, NewDeadLetter::UNROUTABLE, error, observer);
        };
        self.note_missing(missing);
        if leg.holds {
            self.batch.stop(&leg.name, &leg.envelope);
        }
        let decision = Decision::Unroutable {
            is_new: unroutable_for.is_none(),
            error: &error,
        };
        observer.decided(&leg.envelope, &leg.name, decision);
        let retry_after = left.min(LOOK_AGAIN);
        let index = self.batch.add(leg);
        self.hold(
            index,
            Outcome::Unroutable(Unroutable { retry_after, error }),
        );
    }
}

/// True if a row can be held for a destination of this name that is not known.
fn can_be_named(name: &str) -> bool {
    name.len() <= NAME_MAX && !name.chars().any(char::is_control) && !is_reserved(name)
}
