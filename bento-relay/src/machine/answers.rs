//! Taking answers: published, tried again, dead letters.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::leg::{Leg, LegState};
use super::outlet::Wave;
use super::streams::Stream;
use super::{Admission, Decision, Machine, Missing, Observer, Reason, Routing};
use crate::publish::{FailureClass, PublishError};
use crate::retry::RetryPolicies;
use crate::route::{HeadOfLine, Route};
use crate::store::{Failure, NewDeadLetter, Outcome, Settlement};

/// The longest error text that is recorded, in bytes.
pub(super) const ERROR_LIMIT: usize = 4096;

pub(crate) const TOO_FEW_ANSWERS: &str =
    "the publisher answered for fewer events than it was given";

/// The most fallbacks of fallbacks that are searched for a circle.
const LONGEST_CHAIN: usize = 32;

/// The failures of a leg, taken together.
struct Fault {
    class: FailureClass,
    retry_after: Option<Duration>,
    is_newer: bool,
    text: String,
}

impl<R: Routing> Machine<R> {
    /// Takes the answers to a wave, in its order. A missing answer means that the destination could
    /// not be asked.
    pub(crate) fn answer(
        &mut self,
        wave: Wave,
        mut answers: Vec<Result<(), PublishError>>,
        observer: &mut impl Observer,
    ) {
        let is_of_many = wave.legs.len() > 1;
        let has_answer = answers.iter().any(is_answer);
        let given = answers.len();
        answers.resize_with(wave.legs.len(), || {
            Err(PublishError::unavailable(TOO_FEW_ANSWERS))
        });
        // If a call broke off as a whole, one of its events may be the reason.
        let is_suspect = |place: usize| is_of_many && (place >= given || !has_answer);
        if self.is_late(&wave) {
            return self.answer_late(wave, answers, is_suspect, observer);
        }
        let outlet = wave.outlet;
        let destination = Arc::clone(wave.destination());
        let legs = self.finish(wave);
        // The trial succeeded: the rest of the batch may go.
        if has_answer && self.batch.outlets[outlet].reach.admission == Admission::Trial {
            self.batch.outlets[outlet].reach.admission = Admission::Open;
        }
        for (place, (&leg, answer)) in legs.iter().zip(answers).enumerate() {
            self.take_answer(leg, &destination, answer, is_suspect(place), observer);
        }
        self.keep(outlet, legs);
    }

    /// Takes back a wave that failed as a whole. The failure of its only event is an attempt. Else
    /// the destination could not be asked, and each event of the wave is sent alone from now on.
    pub(crate) fn fail(&mut self, wave: Wave, error: &PublishError, observer: &mut impl Observer) {
        let answers = wave.legs.iter().map(|_| Err(error.repeated())).collect();
        self.answer(wave, answers, observer);
    }

    fn take_answer(
        &mut self,
        index: usize,
        destination: &Arc<str>,
        answer: Result<(), PublishError>,
        is_suspect: bool,
        observer: &mut impl Observer,
    ) {
        let leg = &mut self.batch.legs[index];
        if leg.state != LegState::Sent {
            return;
        }
        let several = leg.route.destinations.len() > 1;
        match answer {
            Ok(()) if several => {
                leg.delivered.push(Arc::clone(destination));
                leg.is_partial = true;
            }
            Ok(()) => {}
            Err(error) => leg.faults.push((Arc::clone(destination), error)),
        }
        leg.is_suspect |= is_suspect;
        // The leg is settled when its last destination has answered.
        leg.open -= 1;
        if leg.open > 0 {
            return;
        }
        if leg.faults.is_empty() {
            self.settle_published(index, observer);
            self.batch.release_next(index);
        } else {
            self.settle_failure(index, observer);
        }
    }

    /// Settles a leg that every destination has confirmed.
    pub(super) fn settle_published(&mut self, index: usize, observer: &mut impl Observer) {
        self.forget_unreached(index);
        let leg = &mut self.batch.legs[index];
        leg.state = LegState::Settled;
        observer.decided(&leg.envelope, &leg.name, Decision::Published);
        match leg.row {
            Some(row) => {
                self.batch.rows[row].is_confirmed = true;
                self.leave_row(row, false);
            }
            None => self.settled.push(leg.settlement(Outcome::Published)),
        }
    }

    /// Settles a leg that a destination refused: with another attempt later, at its fallback, or as
    /// a dead letter.
    pub(super) fn settle_failure(&mut self, index: usize, observer: &mut impl Observer) {
        let leg = &mut self.batch.legs[index];
        let fault = Fault::of(leg);
        let (holds, is_chained) = (leg.holds, leg.is_chained);
        // Only an answer about the event is an attempt at it.
        let attempts = leg
            .attempts
            .saturating_add(u32::from(fault.class.is_answer()));
        let policies = leg.route.retry.unwrap_or(self.retry);
        let cause = match fault.class {
            FailureClass::Permanent => Some(NewDeadLetter::PERMANENT),
            FailureClass::Transient if policies.transient.is_exhausted(attempts) => {
                Some(NewDeadLetter::MAX_ATTEMPTS)
            }
            FailureClass::Transient
            | FailureClass::Throttled
            | FailureClass::Unavailable
            | FailureClass::NotTried => None,
        };
        match cause {
            Some(cause) => match self.fallback_of(&Arc::clone(&self.batch.legs[index].route)) {
                Some(to) => {
                    let decision = Decision::FellBack {
                        attempts,
                        to: &to.name,
                        error: &fault.text,
                    };
                    let leg = &self.batch.legs[index];
                    observer.decided(&leg.envelope, &leg.name, decision);
                    self.move_to_fallback(index, &to);
                    if holds && !is_chained {
                        // Another relay could send it once more where it failed. Until it has
                        // moved, nothing overtakes it.
                        return;
                    }
                }
                None => self.settle_dead(index, attempts, cause, fault.text, holds, observer),
            },
            None => self.retry_later(index, attempts, fault, &policies, observer),
        }
        if holds {
            self.hold_followers(index, observer);
        }
        self.batch.release_next(index);
    }

    /// Holds a leg until its next attempt.
    fn retry_later(
        &mut self,
        index: usize,
        attempts: u32,
        fault: Fault,
        policies: &RetryPolicies,
        observer: &mut impl Observer,
    ) {
        let Fault {
            class,
            retry_after,
            is_newer,
            text,
        } = fault;
        let leg = &self.batch.legs[index];
        if is_newer {
            let (handler, event_type) = (leg.name.to_string(), leg.envelope.event_type.to_string());
            self.note_missing(Missing::Version {
                handler,
                event_type,
            });
        }
        let leg = &self.batch.legs[index];
        let (position, name) = (leg.position, &leg.name);
        // The wait by the policy; an answer about the event ends the waits of a destination that
        // could not be asked.
        let drawn = match class {
            FailureClass::Unavailable | FailureClass::NotTried => {
                self.unreached
                    .note(position, name, leg.is_suspect, &mut self.random)
            }
            FailureClass::Throttled => policies.throttled.wait(attempts.max(1), &mut self.random),
            FailureClass::Transient | FailureClass::Permanent => {
                self.unreached.answered(position, name);
                policies.transient.wait(attempts.max(1), &mut self.random)
            }
        };
        let after = retry_after.map_or(drawn, |asked| asked.max(drawn));
        let decision = Decision::Retry {
            attempts,
            after,
            class,
            error: &text,
        };
        observer.decided(&leg.envelope, &leg.name, decision);
        let failure = Failure {
            attempts,
            retry_after: after,
            error: text,
            delivered: leg.delivered.clone(),
        };
        self.hold(index, Outcome::Retry(failure));
    }

    fn forget_unreached(&mut self, index: usize) {
        let leg = &self.batch.legs[index];
        self.unreached.forget(leg.position, &leg.name);
    }

    /// The fallback of a route; `None` if its own fallbacks lead back to the route.
    fn fallback_of(&self, route: &Route) -> Option<Arc<Route>> {
        let first = route.fallback.as_ref()?;
        let mut at = Arc::clone(first);
        for _ in 0..LONGEST_CHAIN {
            if at.name == route.name {
                return None;
            }
            // The event will find there what the router says of that route.
            let known = self.router.named(&at.name);
            match &known.unwrap_or(&at).fallback {
                None => return Some(Arc::clone(first)),
                Some(next) => at = Arc::clone(next),
            }
        }
        None
    }

    fn move_to_fallback(&mut self, index: usize, to: &Arc<Route>) {
        self.forget_unreached(index);
        let leg = &mut self.batch.legs[index];
        leg.state = LegState::Settled;
        let ordered = leg.envelope.is_ordered() && to.head_of_line == HeadOfLine::Hold;
        let (position, row, envelope) = (leg.position, leg.row, Arc::clone(&leg.envelope));
        let to = Arc::clone(&to.name);
        if ordered {
            self.blocked.insert(&to, &envelope);
        }
        let Some(row) = row else {
            let moved = Settlement::held(position, Arc::clone(&leg.name), Outcome::Moved { to });
            return self.settled.push(moved.ordered(ordered));
        };
        // A row that goes to the fallback by a rule as well has a leg for it already.
        let legs = self.batch.rows[row].legs.clone();
        let goes_there_anyway = self.batch.legs[legs].iter().any(|leg| leg.name == to);
        if !goes_there_anyway {
            if ordered {
                let fallen = &mut self.batch.rows[row].fallen;
                fallen.push(Stream::of(&to, &envelope));
            }
            self.settled
                .push(Settlement::pending(position, to, Outcome::Behind).ordered(ordered));
        }
        self.leave_row(row, !goes_there_anyway);
    }

    /// Records that a row waits: a pending one is held from now on, a held one has another wait.
    pub(super) fn hold(&mut self, index: usize, outcome: Outcome) {
        let leg = &mut self.batch.legs[index];
        leg.state = LegState::Settled;
        // It leaves the outbox, and later rows of its stream may not be sent before it.
        if leg.holds && !leg.is_held_row() {
            leg.state = LegState::Held;
            self.blocked.insert(&leg.name, &leg.envelope);
        }
        self.settled.push(leg.settlement(outcome));
        if let Some(row) = leg.row {
            self.leave_row(row, true);
        }
    }

    /// Holds a pending row that was not sent. A held one stays as it is.
    pub(super) fn hold_behind(
        &mut self,
        index: usize,
        reason: Reason,
        observer: &mut impl Observer,
    ) {
        let leg = &mut self.batch.legs[index];
        if leg.is_held_row() {
            leg.state = LegState::Settled;
            return;
        }
        observer.decided(&leg.envelope, &leg.name, Decision::HeldBack(reason));
        self.hold(index, Outcome::Behind);
    }

    /// Makes a leg a dead letter.
    pub(super) fn settle_dead(
        &mut self,
        index: usize,
        attempts: u32,
        cause: &'static str,
        error: String,
        parks: bool,
        observer: &mut impl Observer,
    ) {
        self.forget_unreached(index);
        let leg = &mut self.batch.legs[index];
        leg.state = LegState::Settled;
        let decision = Decision::Dead {
            attempts,
            cause,
            error: &error,
        };
        observer.decided(&leg.envelope, &leg.name, decision);
        let dead = NewDeadLetter {
            attempts,
            error,
            cause: Cow::Borrowed(cause),
            parks,
            delivered: std::mem::take(&mut leg.delivered),
        };
        if parks {
            self.blocked.insert(&leg.name, &leg.envelope);
        }
        self.settled.push(leg.settlement(Outcome::Dead(dead)));
        if let Some(row) = leg.row {
            self.leave_row(row, true);
        }
    }

    /// Notes that a pending row is settled on one more of its routes, and perhaps held or dead
    /// there. With the last of them the row is published, unless it has moved.
    fn leave_row(&mut self, row: usize, is_moved: bool) {
        let row = &mut self.batch.rows[row];
        // A row leaves the outbox once, after the last of its routes.
        row.is_moved |= is_moved;
        row.open -= 1;
        if row.open == 0 && !row.is_moved {
            self.settled.push(Settlement::published(row.position));
        }
    }

    /// Keeps every leg behind a failed one from being sent, and holds the pending ones.
    fn hold_followers(&mut self, failed: usize, observer: &mut impl Observer) {
        for index in self.batch.cut_followers(failed) {
            self.hold_behind(index, Reason::Order, observer);
        }
    }
}

impl Fault {
    /// Takes the gravest class: a failure that is permanent for one destination is permanent for
    /// the leg.
    fn of(leg: &mut Leg) -> Self {
        let faults = std::mem::take(&mut leg.faults);
        let gravity = |class| match class {
            FailureClass::Permanent => 4,
            FailureClass::Transient => 3,
            FailureClass::NotTried => 2,
            FailureClass::Unavailable => 1,
            FailureClass::Throttled => 0,
        };
        let classes = faults.iter().map(|(_, error)| error.class());
        let class = classes
            .max_by_key(|class| gravity(*class))
            .unwrap_or(FailureClass::Unavailable);
        let is_newer = faults.iter().any(|(_, error)| error.is_of_newer_version());
        let retry_after = faults
            .iter()
            .filter_map(|(_, error)| error.retry_after())
            .max();
        let text = if leg.route.destinations.len() > 1 {
            let each = faults
                .iter()
                .map(|(name, error)| format!("{name}: {}", error.chain()));
            let mut text = each.collect::<Vec<_>>().join("; ");
            if !leg.delivered.is_empty() {
                text = format!("{text}; delivered to {}", leg.delivered.join(", "));
            }
            text
        } else {
            faults
                .first()
                .map(|(_, error)| error.chain())
                .unwrap_or_default()
        };
        Self {
            class,
            retry_after,
            is_newer,
            text: bounded(text),
        }
    }
}

/// True if the destination is there: it confirmed the event, or answered about it.
fn is_answer(answer: &Result<(), PublishError>) -> bool {
    answer
        .as_ref()
        .map_or_else(|error| error.class().is_answer(), |()| true)
}

pub(super) fn bounded(mut error: String) -> String {
    if error.len() > ERROR_LIMIT {
        error.truncate(error.floor_char_boundary(ERROR_LIMIT));
    }
    error
}
