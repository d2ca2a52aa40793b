//! A circuit breaker for each destination: nothing is sent to one that is unavailable, so that an
//! outage does not turn the backlog into dead letters.
//!
//! While the circuit is closed, everything passes. It opens after several failures in a row to ask
//! the destination, without an answer between them. After a pause it is half open: it lets one
//! worker try one row of each kind. If the destination still cannot be asked, the circuit stays
//! open for longer, otherwise it closes. An answer about an event, good or bad, shows that the
//! destination is available.
//!
//! Nothing is sent either to a destination with a late wave, until that wave is back.
//!
//! A relay with one destination takes no batch while the circuit is open. With several, the rows
//! for the destination are held and the others go on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::telemetry::{self, TARGET_RELAY};
use tokio::time::Instant;

use super::clock::later;
use super::degradation::Degradation;
use crate::machine::Admission;
use crate::publish::{Destination, FailureClass, HandlerRoute, PublishError};
use crate::retry::RetryPolicy;
use crate::route::Router;

/// The time for which a circuit stays open, the n-th time in a row.
const PAUSE: RetryPolicy =
    RetryPolicy::exponential(Duration::from_secs(1), Duration::from_secs(30), u32::MAX);

/// The breakers of a relay, by destination; shared by its workers.
#[derive(Debug)]
pub(super) struct Breakers {
    /// The number of failures in a row that opens a circuit.
    limit: u32,
    /// The routes that the router names, with their destinations. A handler is a destination.
    routes: Vec<(Arc<str>, Vec<Arc<str>>)>,
    circuits: Mutex<BTreeMap<Arc<str>, Circuit>>,
    /// True if the last late wave of a destination has come back since the last call of
    /// [`take_returned`](Self::take_returned).
    has_returned: AtomicBool,
}

/// The circuit of one destination.
#[derive(Debug, Default)]
struct Circuit {
    failures: u32,
    /// The error of the last of them, with its causes.
    error: Option<String>,
    /// The number of times in a row that it opened.
    opened: u32,
    open_until: Option<Instant>,
    is_tried: bool,
    /// The number of late waves to the destination.
    late: usize,
    /// The time of the last answer about an event.
    answered: Option<Instant>,
}

/// The right to try a destination. It may outlive the batch that it began in. If it is dropped
/// without a result, another trial may begin.
#[derive(Debug)]
pub(super) struct Trial {
    breakers: Arc<Breakers>,
    destination: Arc<str>,
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Some(state) = self.breakers.circuits().get_mut(&self.destination) {
            state.is_tried = false;
        }
    }
}

impl Trial {
    pub(super) fn is_of(&self, destination: &Arc<str>) -> bool {
        self.destination == *destination
    }
}

/// A late wave. Until all of them are back, or dropped, nothing else is sent to their destination.
#[derive(Debug)]
pub(super) struct Postponed {
    breakers: Arc<Breakers>,
    destination: Arc<str>,
}

impl Drop for Postponed {
    fn drop(&mut self) {
        if let Some(state) = self.breakers.circuits().get_mut(&self.destination) {
            state.late -= 1;
            self.breakers
                .has_returned
                .fetch_or(state.late == 0, Ordering::Relaxed);
        }
    }
}

impl Postponed {
    pub(super) fn is_to(&self, destination: &Arc<str>) -> bool {
        self.destination == *destination
    }
}

impl Breakers {
    pub(super) fn new(limit: u32, router: &Router, handlers: &[HandlerRoute]) -> Self {
        let names = |destinations: &[Destination]| {
            destinations
                .iter()
                .map(|destination| Arc::clone(&destination.name))
                .collect::<Vec<_>>()
        };
        let routes: Vec<_> = router
            .routes()
            .map(|route| (Arc::clone(&route.name), names(&route.destinations)))
            .collect();
        let circuits = routes
            .iter()
            .flat_map(|(_, names)| names)
            .chain(handlers.iter().map(|handler| &handler.name))
            .map(|name| (Arc::clone(name), Circuit::default()));
        let circuits = Mutex::new(circuits.collect());
        Self {
            limit,
            routes,
            circuits,
            has_returned: AtomicBool::new(false),
        }
    }

    /// True if there is one destination only, so that a relay has nothing else to do while it is
    /// unavailable.
    pub(super) fn is_only_one(&self) -> bool {
        self.circuits().len() == 1
    }

    /// Asks for permission to take a batch, which is always given with several destinations. With
    /// one, a trial may be given, for a batch of one row.
    ///
    /// # Errors
    /// The time to ask again, while the only destination is unavailable.
    pub(super) fn enter(self: &Arc<Self>, now: Instant) -> Result<Option<Trial>, Instant> {
        let mut circuits = self.circuits();
        let mut entries = circuits.iter_mut();
        match (entries.next(), entries.next()) {
            (Some((name, state)), None) => match state.enter(name, now) {
                Admission::Open => Ok(None),
                Admission::Trial => Ok(Some(self.trial(name))),
                Admission::Away | Admission::Busy => Err(state
                    .open_until
                    .map_or(now, |until| until.max(now + PAUSE.ceiling(1)))),
            },
            _ => Ok(None),
        }
    }

    /// Returns the admission of one of several destinations.
    pub(super) fn admit(
        self: &Arc<Self>,
        destination: &Arc<str>,
        now: Instant,
    ) -> (Admission, Option<Trial>) {
        let mut circuits = self.circuits();
        let Some(state) = circuits.get_mut(destination) else {
            return (Admission::Open, None);
        };
        let admission = state.enter(destination, now);
        let trial = (admission == Admission::Trial).then(|| self.trial(destination));
        (admission, trial)
    }

    /// The destinations and routes whose held rows are not wanted: those that are unavailable or
    /// `full`, if there are others.
    pub(super) fn without(&self, now: Instant, full: &[Arc<str>]) -> Vec<Arc<str>> {
        let circuits = self.circuits();
        let is_away = |name: &Arc<str>| {
            full.contains(name) || circuits.get(name).is_some_and(|state| state.is_away(now))
        };
        if circuits.len() == 1 || !circuits.keys().any(is_away) {
            return Vec::new();
        }
        let mut without: Vec<_> = circuits
            .keys()
            .filter(|name| is_away(name))
            .cloned()
            .collect();
        let routes = self
            .routes
            .iter()
            .filter(|(_, destinations)| destinations.iter().any(is_away));
        without.extend(routes.map(|(route, _)| Arc::clone(route)));
        without
    }

    /// The time until which nothing passes at all; `None` if something does.
    pub(super) fn blocked_until(&self, now: Instant) -> Option<Instant> {
        let circuits = self.circuits();
        let only = circuits.values().next().filter(|_| circuits.len() == 1)?;
        only.open_until.filter(|until| *until > now)
    }

    /// The time at which the next unavailable destination may be tried.
    pub(super) fn next_trial(&self, now: Instant) -> Option<Instant> {
        self.circuits()
            .values()
            .filter_map(|state| state.open_until)
            .filter(|until| *until > now)
            .min()
    }

    /// Each destination that was unavailable at the last attempt.
    pub(super) fn degraded(&self) -> Vec<Degradation> {
        self.circuits()
            .iter()
            .filter_map(|(name, state)| state.degradation(name))
            .collect()
    }

    /// The destinations with an open circuit.
    pub(super) fn open(&self) -> Vec<Arc<str>> {
        let circuits = self.circuits();
        circuits
            .iter()
            .filter(|(_, state)| state.open_until.is_some())
            .map(|(name, _)| Arc::clone(name))
            .collect()
    }

    /// Notes that a destination has just answered about an event.
    pub(super) fn answered(&self, destination: &Arc<str>, now: Instant) {
        self.circuits()
            .entry(Arc::clone(destination))
            .or_default()
            .answered = Some(now);
    }

    /// True if a destination has answered about an event since `asked`.
    pub(super) fn has_answered_since(&self, destination: &Arc<str>, asked: Instant) -> bool {
        let circuits = self.circuits();
        circuits
            .get(destination)
            .and_then(|state| state.answered)
            .is_some_and(|answered| answered >= asked)
    }

    /// Notes the answers of a destination to a wave of `sent` events. Returns the pause of its
    /// circuit if that has just opened.
    pub(super) fn note(
        &self,
        destination: &Arc<str>,
        answers: &[Result<(), PublishError>],
        sent: usize,
        now: Instant,
    ) -> Option<Duration> {
        let is_there = |answer: &Result<(), PublishError>| {
            answer
                .as_ref()
                .map_or_else(|error| error.class().is_answer(), |()| true)
        };
        let mut errors = answers.iter().map(|answer| answer.as_ref().err());
        let is_not_tried = |error: &PublishError| error.class() == FailureClass::NotTried;
        if !answers.is_empty() && errors.all(|error| error.is_some_and(is_not_tried)) {
            return None;
        }
        if !answers.iter().any(is_there) {
            let asked = answers
                .iter()
                .filter_map(|answer| answer.as_ref().err()?.retry_after())
                .max();
            let error = answers.iter().find_map(|answer| answer.as_ref().err());
            return self.fail(destination, sent, asked, error, now);
        }
        if self.change(&mut self.circuits(), destination, Circuit::close) {
            tell(destination, "closed", false);
            tracing::info!(
                target: TARGET_RELAY,
                destination = &**destination,
                "the destination is available again",
            );
        }
        None
    }

    /// Notes a call for `sent` events that brought no answer of the destination. Returns the pause
    /// of its circuit if that has just opened.
    pub(super) fn note_broken(
        &self,
        destination: &Arc<str>,
        sent: usize,
        error: &PublishError,
        now: Instant,
    ) -> Option<Duration> {
        self.fail(destination, sent, None, Some(error), now)
    }

    fn fail(
        &self,
        destination: &Arc<str>,
        sent: usize,
        asked: Option<Duration>,
        error: Option<&PublishError>,
        now: Instant,
    ) -> Option<Duration> {
        let failures = u32::try_from(sent).unwrap_or(u32::MAX);
        let error = error.map_or_else(
            || "the publisher gave no answer".to_owned(),
            PublishError::chain,
        );
        let pause = self.change(&mut self.circuits(), destination, |state| {
            state.error = Some(error.clone());
            state.fail(failures, asked, self.limit, now)
        })?;
        tell(destination, "opened", true);
        tracing::warn!(
            target: TARGET_RELAY, destination = &**destination, error, ?pause,
            "the destination is unavailable: its circuit is open, publishing to it pauses",
        );
        Some(pause)
    }

    /// Notes that a wave to one of several destinations is late.
    pub(super) fn postpone(self: &Arc<Self>, destination: Arc<str>) -> Postponed {
        self.circuits()
            .entry(Arc::clone(&destination))
            .or_default()
            .late += 1;
        telemetry::count_of(
            telemetry::LATE_WAVES,
            telemetry::DESTINATION,
            Arc::clone(&destination),
            1,
        );
        tracing::debug!(
            target: TARGET_RELAY,
            destination = &*destination,
            "the destination is slow: its wave is late, the other destinations go on",
        );
        Postponed {
            breakers: Arc::clone(self),
            destination,
        }
    }

    /// True if a destination that was late answers again since the last call, so that its held rows
    /// can go on.
    pub(super) fn take_returned(&self) -> bool {
        self.has_returned.swap(false, Ordering::Relaxed)
    }

    fn change<T>(
        &self,
        circuits: &mut BTreeMap<Arc<str>, Circuit>,
        destination: &Arc<str>,
        change: impl FnOnce(&mut Circuit) -> T,
    ) -> T {
        match circuits.get_mut(destination) {
            Some(state) => change(state),
            None => change(circuits.entry(Arc::clone(destination)).or_default()),
        }
    }

    fn trial(self: &Arc<Self>, destination: &Arc<str>) -> Trial {
        Trial {
            breakers: Arc::clone(self),
            destination: Arc::clone(destination),
        }
    }

    fn circuits(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Circuit>> {
        self.circuits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Circuit {
    fn is_away(&self, now: Instant) -> bool {
        self.late > 0
            || self
                .open_until
                .is_some_and(|until| until > now || self.is_tried)
    }

    fn enter(&mut self, destination: &Arc<str>, now: Instant) -> Admission {
        if self.is_away(now) {
            Admission::Away
        } else if self.open_until.is_none() {
            Admission::Open
        } else {
            self.is_tried = true;
            tell(destination, "half_open", true);
            tracing::info!(
                target: TARGET_RELAY,
                destination = &**destination,
                "trying the destination again",
            );
            Admission::Trial
        }
    }

    fn degradation(&self, destination: &Arc<str>) -> Option<Degradation> {
        let (destination, error) = (Arc::clone(destination), self.error.clone()?);
        Some(match self.open_until {
            Some(_) => Degradation::CircuitOpen { destination, error },
            None => Degradation::Unavailable { destination, error },
        })
    }

    /// Closes the circuit. True if it was open.
    fn close(&mut self) -> bool {
        let was_open = self.open_until.is_some();
        // A trial that is out, late waves and the last answer outlive the failures.
        *self = Self {
            is_tried: self.is_tried,
            late: self.late,
            answered: self.answered,
            ..Self::default()
        };
        was_open
    }

    fn fail(
        &mut self,
        failures: u32,
        asked: Option<Duration>,
        limit: u32,
        now: Instant,
    ) -> Option<Duration> {
        self.failures = self.failures.saturating_add(failures);
        // A wave that was in flight when another one opened the circuit tells nothing new.
        let is_blocked = self.open_until.is_some_and(|until| until > now);
        if self.failures < limit || is_blocked {
            return None;
        }
        self.opened = self.opened.saturating_add(1);
        let pause = PAUSE.ceiling(self.opened).max(asked.unwrap_or_default());
        // The pause may be longer than an instant can be.
        self.open_until = Some(later(now, pause));
        Some(pause)
    }
}

fn tell(destination: &Arc<str>, change: &'static str, is_open: bool) {
    telemetry::count_of_kind(
        telemetry::CIRCUIT_CHANGES,
        telemetry::DESTINATION,
        Arc::clone(destination),
        ("change", change),
        1,
    );
    telemetry::set_of(
        telemetry::CIRCUIT_OPEN,
        Arc::clone(destination),
        if is_open { 1.0 } else { 0.0 },
    );
}

#[cfg(test)]
mod tests;
