//! Stops sending to a destination that is away, so that an outage does not turn the backlog into dead letters.
//!
//! Closed, everything passes. After so many failures in a row that no confirmation came between, the circuit of a destination opens. After
//! a pause, and once this relay has the turn among all relays (see [`errand`]), it is half open: it lets one worker try one row of each
//! kind; that trial counts as no attempt. If it fails the circuit stays open for longer, otherwise it closes. A permanent failure is an
//! answer of a broker that is there.
//!
//! A destination with a wave that is late is left alone as well, until that is back.
//!
//! While a relay knows one destination only, no batch is taken while its circuit is open. With several, the rows for it are
//! held and the others go on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use self::errand::{ASK_AGAIN, News};
use super::clock::later;
use super::machine::Admission;
use super::store::Burial;
use crate::publish::{Destination, FailureClass, PublishError};
use crate::retry::RetryPolicy;
use crate::route::Router;
use crate::telemetry::{self, TARGET_RELAY};

mod errand;

pub(super) use self::errand::Errand;

/// How long it stays open, the n-th time in a row.
const PAUSE: RetryPolicy = RetryPolicy::exponential(Duration::from_secs(1), Duration::from_secs(30), u32::MAX);

/// The breakers of a relay, by destination; shared by its workers.
#[derive(Debug)]
pub(super) struct Breakers {
    /// How many failures in a row open one.
    limit: u32,
    /// The routes that the router names, with their destinations.
    routes: Vec<(Arc<str>, Vec<Arc<str>>)>,
    states: Mutex<BTreeMap<Arc<str>, State>>,
    /// Whether the last late wave of some destination has come back since somebody asked.
    has_returned: AtomicBool,
    /// Whether there may be an errand.
    errands: Notify,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// How many waves to it are late.
    late: usize,
    /// Whether the destination is away.
    open: Option<Open>,
    /// What the other relays have not been told yet.
    news: Option<News>,
}

/// A circuit that is open.
#[derive(Debug)]
struct Open {
    /// How many trials there were in a row, of all relays as far as this one knows.
    trials: u32,
    /// Nothing is tried or asked before.
    until: Instant,
    turn: Turn,
}

/// Who may try a destination that is away, once its pause is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Nobody has asked: there may be nothing to try with.
    Unasked,
    /// There is something to try with, so the store is to be asked.
    Wanted,
    /// The store is being asked.
    Asked,
    /// This relay, if it begins before then.
    Own(Instant),
    /// This relay, and it does.
    Tried(Instant),
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

/// The one that tries. It may outlive the batch that it began in; if nobody ever learns how it went, another one tries.
#[derive(Debug)]
pub(super) struct Trial {
    breakers: Arc<Breakers>,
    destination: Arc<str>,
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Some(state) = self.breakers.states().get_mut(&self.destination) {
            state.untried();
        }
    }
}

impl Trial {
    pub(super) fn is_of(&self, destination: &Arc<str>) -> bool {
        self.destination == *destination
    }
}

/// A wave that is waited for no longer. Until all of them are back, or given up, nothing else is sent to their destination.
#[derive(Debug)]
pub(super) struct Postponed {
    breakers: Arc<Breakers>,
    destination: Arc<str>,
}

impl Drop for Postponed {
    fn drop(&mut self) {
        if let Some(state) = self.breakers.states().get_mut(&self.destination) {
            state.late -= 1;
            self.breakers.has_returned.fetch_or(state.late == 0, Ordering::Relaxed);
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
            destinations.iter().map(|destination| Arc::clone(&destination.name)).collect::<Vec<_>>()
        };
        let routes: Vec<_> =
            router.routes().map(|route| (Arc::clone(&route.name), names(&route.destinations))).collect();
        let states = routes.iter().flat_map(|(_, names)| names).map(|name| (Arc::clone(name), State::default()));
        let states = Mutex::new(states.collect());
        Self { limit, routes, states, has_returned: AtomicBool::new(false), errands: Notify::new() }
    }

    /// Whether there is one destination only, so that there is nothing to go on with while it is away.
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
                Admission::Away => {
                    self.errands.notify_one();
                    Passage::Blocked(state.until().map_or(now, |until| until.max(now + PAUSE.ceiling(1))))
                }
            },
            _ => Passage::Free,
        }
    }

    /// Whether anything may be sent to one of several destinations.
    pub(super) fn admit(self: &Arc<Self>, destination: &Arc<str>, now: Instant) -> (Admission, Option<Trial>) {
        let mut states = self.states();
        let Some(state) = states.get_mut(destination) else { return (Admission::Open, None) };
        let admission = state.enter(destination, now);
        if admission == Admission::Away {
            self.errands.notify_one();
        }
        let trial = (admission == Admission::Trial).then(|| self.trial(destination));
        (admission, trial)
    }

    /// The destinations and routes whose held rows are not wanted: those that are away, if there are others.
    pub(super) fn without(&self, now: Instant) -> Vec<Arc<str>> {
        let states = self.states();
        let is_away = |name: &Arc<str>| states.get(name).is_some_and(|state| state.is_away(now));
        if states.len() == 1 || !states.values().any(|state| state.is_away(now)) {
            return Vec::new();
        }
        let mut without: Vec<_> = states.keys().filter(|name| is_away(name)).cloned().collect();
        let routes = self.routes.iter().filter(|(_, destinations)| destinations.iter().any(is_away));
        without.extend(routes.map(|(route, _)| Arc::clone(route)));
        // What was unroutable and is replayed may go anywhere: it would come again and again without being sent.
        without.push(Arc::from(Burial::UNROUTABLE));
        without.sort();
        without.dedup();
        without
    }

    /// Until when nothing passes at all, if so. If that is for the store to say, there will be a wake.
    pub(super) fn blocked_until(&self, now: Instant) -> Option<Instant> {
        let states = self.states();
        let only = states.values().next().filter(|_| states.len() == 1)?.open.as_ref()?;
        match only.turn {
            Turn::Wanted | Turn::Asked => Some(only.until.max(now + ASK_AGAIN)),
            Turn::Unasked | Turn::Own(_) | Turn::Tried(_) => Some(only.until).filter(|until| *until > now),
        }
    }

    /// When to look next whether there is something to try a destination with.
    pub(super) fn next_trial(&self, now: Instant) -> Option<Instant> {
        let states = self.states();
        let unasked = states.values().filter_map(|state| state.open.as_ref()).filter(|open| open.turn == Turn::Unasked);
        unasked.map(|open| open.until).filter(|until| *until > now).min()
    }

    /// The destinations that are away.
    pub(super) fn open(&self) -> Vec<Arc<str>> {
        let states = self.states();
        states.iter().filter(|(_, state)| state.open.is_some()).map(|(name, _)| Arc::clone(name)).collect()
    }

    /// Takes note of the answers of one destination to a wave. Returns for how long its breaker has just opened.
    pub(super) fn note(
        &self,
        destination: &Arc<str>,
        answers: &[Result<(), PublishError>],
        now: Instant,
    ) -> Option<Duration> {
        let is_there = |answer: &Result<(), PublishError>| match answer {
            Ok(()) => true,
            Err(error) => error.class() == FailureClass::Permanent,
        };
        let mut states = self.states();
        let state = match states.get_mut(destination) {
            Some(state) => state,
            None => states.entry(Arc::clone(destination)).or_default(),
        };
        if answers.iter().any(is_there) {
            if state.close() {
                self.errands.notify_one();
                tell(destination, "closed", false);
                tracing::info!(target: TARGET_RELAY, destination = &**destination, "the destination is back");
            }
            return None;
        }
        let pause = state.fail(answers, self.limit, now)?;
        self.errands.notify_one();
        tell(destination, "opened", true);
        let error = answers.iter().find_map(|answer| answer.as_ref().err()).map(PublishError::chain);
        tracing::warn!(
            target: TARGET_RELAY, destination = &**destination, error, ?pause,
            "the destination seems to be away, publishing to it pauses",
        );
        Some(pause)
    }

    /// Notes that a wave to one of several destinations is waited for no longer.
    pub(super) fn postpone(self: &Arc<Self>, destination: Arc<str>) -> Postponed {
        self.states().entry(Arc::clone(&destination)).or_default().late += 1;
        telemetry::count_of(telemetry::LATE_WAVES, Arc::clone(&destination), 1);
        tracing::debug!(target: TARGET_RELAY, destination = &*destination, "the destination is slow, the others go on without it");
        Postponed { breakers: Arc::clone(self), destination }
    }

    /// Whether a destination answers again that was late when this was last asked, so that what is held for it can go on.
    pub(super) fn take_returned(&self) -> bool {
        self.has_returned.swap(false, Ordering::Relaxed)
    }

    fn trial(self: &Arc<Self>, destination: &Arc<str>) -> Trial {
        Trial { breakers: Arc::clone(self), destination: Arc::clone(destination) }
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn until(&self) -> Option<Instant> {
        self.open.as_ref().map(|open| open.until)
    }

    fn is_away(&self, now: Instant) -> bool {
        let is_open = |open: &Open| open.until > now || !matches!(open.turn, Turn::Unasked | Turn::Own(_));
        self.late > 0 || self.open.as_ref().is_some_and(is_open)
    }

    fn enter(&mut self, destination: &Arc<str>, now: Instant) -> Admission {
        if self.late > 0 {
            return Admission::Away;
        }
        let Some(open) = &mut self.open else { return Admission::Open };
        match open.turn {
            Turn::Unasked if open.until <= now => {
                open.turn = Turn::Wanted;
                Admission::Away
            }
            // What it was claimed for is long gone, and so is the claim.
            Turn::Own(until) if until <= now => {
                open.turn = Turn::Wanted;
                Admission::Away
            }
            Turn::Own(until) => {
                open.turn = Turn::Tried(until);
                tell(destination, "half_open", true);
                tracing::info!(target: TARGET_RELAY, destination = &**destination, "the destination is tried");
                Admission::Trial
            }
            Turn::Unasked | Turn::Wanted | Turn::Asked | Turn::Tried(_) => Admission::Away,
        }
    }

    /// A trial ended, perhaps without an answer.
    fn untried(&mut self) {
        if let Some(open) = &mut self.open
            && let Turn::Tried(until) = open.turn
        {
            open.turn = Turn::Own(until);
        }
    }

    /// Whether it was open.
    fn close(&mut self) -> bool {
        self.failures = 0;
        let was_open = self.open.take().is_some();
        if was_open {
            self.news = Some(News::Closed);
        }
        was_open
    }

    fn fail(&mut self, answers: &[Result<(), PublishError>], limit: u32, now: Instant) -> Option<Duration> {
        let failures = u32::try_from(answers.len()).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(failures);
        let trials = match &self.open {
            None if self.failures < limit => return None,
            None => 0,
            Some(open) if matches!(open.turn, Turn::Own(_) | Turn::Tried(_)) => open.trials,
            // A wave that was under way when another one opened it tells nothing new.
            Some(_) => return None,
        };
        let asked = answers.iter().filter_map(|answer| answer.as_ref().err()?.retry_after()).max();
        let pause = PAUSE.ceiling(trials.saturating_add(1)).max(asked.unwrap_or_default());
        // The pause may have no end, but an instant has.
        let until = later(now, pause);
        self.open = Some(Open { trials, until, turn: Turn::Unasked });
        self.news = Some(News::Opened);
        Some(pause)
    }
}

fn tell(destination: &Arc<str>, change: &'static str, is_open: bool) {
    telemetry::count_for(telemetry::CIRCUIT_CHANGES, Arc::clone(destination), ("change", change), 1);
    telemetry::gauge_for(telemetry::CIRCUIT_OPEN, Arc::clone(destination), if is_open { 1.0 } else { 0.0 });
}

#[cfg(test)]
mod tests;
