//! Stops sending to a destination that is away, so that an outage does not turn the backlog into
//! dead letters.
//!
//! Closed, everything passes. After several failures in a row to ask the destination, with no
//! answer of it between, the circuit opens. After a pause it is half open: it lets one worker try
//! one row of each kind. If the destination still cannot be asked the circuit stays open for
//! longer, otherwise it closes. An answer about an event, good or bad, comes from a destination
//! that is there.
//!
//! A destination with a wave that is late is left alone as well, until that is back.
//!
//! While a relay knows one destination only, no batch is taken while its breaker is open. With
//! several, the rows for it are held and the others go on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::telemetry::{self, TARGET_RELAY};
use tokio::time::Instant;

use super::clock::later;
use super::degradation::Degradation;
use crate::machine::Admission;
use crate::publish::{Destination, PublishError};
use crate::retry::RetryPolicy;
use crate::route::Router;

/// How long it stays open, the n-th time in a row.
const PAUSE: RetryPolicy =
    RetryPolicy::exponential(Duration::from_secs(1), Duration::from_secs(30), u32::MAX);

/// The breakers of a relay, by destination; shared by its workers.
#[derive(Debug)]
pub(super) struct Breakers {
    /// The number of failures in a row that opens one.
    limit: u32,
    /// The routes that the router names, with their destinations.
    routes: Vec<(Arc<str>, Vec<Arc<str>>)>,
    states: Mutex<BTreeMap<Arc<str>, State>>,
    /// Whether the last late wave of some destination has come back since somebody asked.
    has_returned: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// The error of the last of them, with its causes.
    error: Option<String>,
    /// How often in a row it opened.
    opened: u32,
    open_until: Option<Instant>,
    is_tried: bool,
    /// How many waves to it are late.
    late: usize,
    /// When it last answered about an event.
    answered: Option<Instant>,
}

/// What a worker may do now.
#[derive(Debug)]
pub(super) enum Passage {
    /// Take a batch.
    Free,
    /// Take one row and see.
    Trial(#[expect(dead_code, reason = "held until the trial is over")] Trial),
    /// Come again then.
    Blocked(Instant),
}

/// The one that tries. It may outlive the batch that it began in; if nobody ever learns how it
/// went, another one tries.
#[derive(Debug)]
pub(super) struct Trial {
    breakers: Arc<Breakers>,
    destination: Arc<str>,
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Some(state) = self.breakers.states().get_mut(&self.destination) {
            state.is_tried = false;
        }
    }
}

impl Trial {
    pub(super) fn is_of(&self, destination: &Arc<str>) -> bool {
        self.destination == *destination
    }
}

/// A wave that is waited for no longer. Until all of them are back, or given up, nothing else is
/// sent to their destination.
#[derive(Debug)]
pub(super) struct Postponed {
    breakers: Arc<Breakers>,
    destination: Arc<str>,
}

impl Drop for Postponed {
    fn drop(&mut self) {
        if let Some(state) = self.breakers.states().get_mut(&self.destination) {
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
    pub(super) fn new(limit: u32, router: &Router) -> Self {
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
        let states = routes
            .iter()
            .flat_map(|(_, names)| names)
            .map(|name| (Arc::clone(name), State::default()));
        let states = Mutex::new(states.collect());
        Self {
            limit,
            routes,
            states,
            has_returned: AtomicBool::new(false),
        }
    }

    /// Whether there is one destination only, so that there is nothing to go on with while it is
    /// away.
    pub(super) fn is_only_one(&self) -> bool {
        self.states().len() == 1
    }

    /// Whether a batch may be taken. Always, if there are several destinations.
    pub(super) fn enter(self: &Arc<Self>, now: Instant) -> Passage {
        let mut states = self.states();
        let mut entries = states.iter_mut();
        match (entries.next(), entries.next()) {
            (Some((name, state)), None) => match state.enter(name, now) {
                Admission::Open => Passage::Free,
                Admission::Trial => Passage::Trial(self.trial(name)),
                Admission::Away => Passage::Blocked(
                    state
                        .open_until
                        .map_or(now, |until| until.max(now + PAUSE.ceiling(1))),
                ),
            },
            _ => Passage::Free,
        }
    }

    /// Whether anything may be sent to one of several destinations.
    pub(super) fn admit(
        self: &Arc<Self>,
        destination: &Arc<str>,
        now: Instant,
    ) -> (Admission, Option<Trial>) {
        let mut states = self.states();
        let Some(state) = states.get_mut(destination) else {
            return (Admission::Open, None);
        };
        let admission = state.enter(destination, now);
        let trial = (admission == Admission::Trial).then(|| self.trial(destination));
        (admission, trial)
    }

    /// The destinations and routes whose held rows are not wanted: those that are away, if there
    /// are others.
    pub(super) fn without(&self, now: Instant) -> Vec<Arc<str>> {
        let states = self.states();
        let is_away = |name: &Arc<str>| states.get(name).is_some_and(|state| state.is_away(now));
        if states.len() == 1 || !states.values().any(|state| state.is_away(now)) {
            return Vec::new();
        }
        let mut without: Vec<_> = states
            .keys()
            .filter(|name| is_away(name))
            .cloned()
            .collect();
        let routes = self
            .routes
            .iter()
            .filter(|(_, destinations)| destinations.iter().any(is_away));
        without.extend(routes.map(|(route, _)| Arc::clone(route)));
        without.sort();
        without.dedup();
        without
    }

    /// Until when nothing passes at all, if so.
    pub(super) fn blocked_until(&self, now: Instant) -> Option<Instant> {
        let states = self.states();
        let only = states.values().next().filter(|_| states.len() == 1)?;
        only.open_until.filter(|until| *until > now)
    }

    /// When the next of the destinations that are away may be tried.
    pub(super) fn next_trial(&self, now: Instant) -> Option<Instant> {
        self.states()
            .values()
            .filter_map(|state| state.open_until)
            .filter(|until| *until > now)
            .min()
    }

    /// Each destination that could not be asked when that was last tried.
    pub(super) fn degraded(&self) -> Vec<Degradation> {
        self.states()
            .iter()
            .filter_map(|(name, state)| state.degradation(name))
            .collect()
    }

    /// The destinations that are away.
    pub(super) fn open(&self) -> Vec<Arc<str>> {
        let states = self.states();
        states
            .iter()
            .filter(|(_, state)| state.open_until.is_some())
            .map(|(name, _)| Arc::clone(name))
            .collect()
    }

    /// Notes that a destination has just answered about an event.
    pub(super) fn answered(&self, destination: &Arc<str>, now: Instant) {
        self.states()
            .entry(Arc::clone(destination))
            .or_default()
            .answered = Some(now);
    }

    /// True if a destination has answered about an event since `asked`.
    pub(super) fn has_answered_since(&self, destination: &Arc<str>, asked: Instant) -> bool {
        let states = self.states();
        states
            .get(destination)
            .and_then(|state| state.answered)
            .is_some_and(|answered| answered >= asked)
    }

    /// Takes note of the answers of one destination to a wave of so many events. Returns the pause
    /// of its circuit if that has just opened.
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
        if !answers.iter().any(is_there) {
            let asked = answers
                .iter()
                .filter_map(|answer| answer.as_ref().err()?.retry_after())
                .max();
            let error = answers.iter().find_map(|answer| answer.as_ref().err());
            return self.fail(destination, sent, asked, error, now);
        }
        if self.state(&mut self.states(), destination, State::close) {
            tell(destination, "closed", false);
            tracing::info!(
                target: TARGET_RELAY,
                destination = &**destination,
                "the destination is back",
            );
        }
        None
    }

    /// Takes note of a call for so many events that brought no answer of the destination. Returns
    /// the pause of its circuit if that has just opened.
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
        let pause = self.state(&mut self.states(), destination, |state| {
            state.error = Some(error.clone());
            state.fail(failures, asked, self.limit, now)
        })?;
        tell(destination, "opened", true);
        tracing::warn!(
            target: TARGET_RELAY, destination = &**destination, error, ?pause,
            "the destination is unavailable, publishing to it pauses",
        );
        Some(pause)
    }

    /// Notes that a wave to one of several destinations is waited for no longer.
    pub(super) fn postpone(self: &Arc<Self>, destination: Arc<str>) -> Postponed {
        self.states()
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
            "the destination is slow, the others go on without it",
        );
        Postponed {
            breakers: Arc::clone(self),
            destination,
        }
    }

    /// Whether a destination answers again that was late when this was last asked, so that what is
    /// held for it can go on.
    pub(super) fn take_returned(&self) -> bool {
        self.has_returned.swap(false, Ordering::Relaxed)
    }

    fn state<T>(
        &self,
        states: &mut BTreeMap<Arc<str>, State>,
        destination: &Arc<str>,
        change: impl FnOnce(&mut State) -> T,
    ) -> T {
        match states.get_mut(destination) {
            Some(state) => change(state),
            None => change(states.entry(Arc::clone(destination)).or_default()),
        }
    }

    fn trial(self: &Arc<Self>, destination: &Arc<str>) -> Trial {
        Trial {
            breakers: Arc::clone(self),
            destination: Arc::clone(destination),
        }
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
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
                "the destination is tried",
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

    /// Whether it was open.
    fn close(&mut self) -> bool {
        let was_open = self.open_until.is_some();
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
        // A wave that was under way when another one opened it tells nothing new.
        let is_blocked = self.open_until.is_some_and(|until| until > now);
        if self.failures < limit || is_blocked {
            return None;
        }
        self.opened = self.opened.saturating_add(1);
        let pause = PAUSE.ceiling(self.opened).max(asked.unwrap_or_default());
        // The pause may have no end, but an instant has.
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
