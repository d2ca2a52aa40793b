//! Taking answers: confirmed, tried again, given up.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::batch::{Leg, Place, State, Stream};
use super::outlet::{Piece, Wave};
use super::{Admission, Machine, Observer, Outcome, Reason, Routing};
use crate::publish::{FailureClass, PublishError};
use crate::retry::RetryPolicies;
use crate::route::{HeadOfLine, Route};
use crate::store::{Burial, Failure, Held, Settlement};

/// The longest error text that is recorded, in bytes.
pub(super) const ERROR_LIMIT: usize = 4096;

pub(crate) const TOO_FEW_ANSWERS: &str =
    "the publisher answered for fewer events than it was given";

/// How many fallbacks of fallbacks are looked at for a circle.
const LONGEST_CHAIN: usize = 32;

/// What the failures of a leg come to.
struct Fault {
    class: FailureClass,
    retry_after: Option<Duration>,
    text: String,
}

impl<R: Routing> Machine<R> {
    /// Takes the answers to a wave, in its order. A missing one says that the destination could not
    /// be asked.
    pub fn answer(
        &mut self,
        wave: Wave,
        mut answers: Vec<Result<(), PublishError>>,
        observer: &mut impl Observer,
    ) {
        let is_of_many = wave.pieces.len() > 1;
        let has_answer = answers.iter().any(is_answer);
        let given = answers.len();
        answers.resize_with(wave.pieces.len(), || {
            Err(PublishError::unavailable(TOO_FEW_ANSWERS))
        });
        // What broke off as a whole, one of its events may have broken.
        let is_suspect = |place: usize| is_of_many && (place >= given || !has_answer);
        if self.is_late(&wave) {
            return self.answer_late(wave, answers, is_suspect, observer);
        }
        let outlet = wave.outlet;
        let pieces = self.finish(wave);
        if has_answer && self.batch.outlets[outlet].admission == Admission::Trial {
            self.batch.outlets[outlet].admission = Admission::Open;
        }
        for (place, (&piece, answer)) in pieces.iter().zip(answers).enumerate() {
            self.answered(piece, answer, is_suspect(place), observer);
        }
        self.keep(outlet, pieces);
    }

    /// Takes back a wave that failed as a whole. If the failure is that of its only event, it is an
    /// attempt; else the destination could not be asked, and each event of the wave is sent alone
    /// from now on.
    pub fn fail(&mut self, wave: Wave, error: &PublishError, observer: &mut impl Observer) {
        let answers = wave.pieces.iter().map(|_| Err(error.repeated())).collect();
        self.answer(wave, answers, observer);
    }

    fn answered(
        &mut self,
        piece: Piece,
        answer: Result<(), PublishError>,
        is_suspect: bool,
        observer: &mut impl Observer,
    ) {
        let leg = &mut self.batch.legs[piece.leg];
        if leg.state != State::Sent {
            return;
        }
        let several = leg.route.destinations.len() > 1;
        let name = &leg.route.destinations[leg.members[piece.member].destination].name;
        match answer {
            Ok(()) if several => {
                leg.delivered.push(Arc::clone(name));
                leg.is_partial = true;
            }
            Ok(()) => {}
            Err(error) => leg.faults.push((Arc::clone(name), error)),
        }
        leg.is_suspect |= is_suspect;
        leg.open -= 1;
        if leg.open > 0 {
            return;
        }
        if leg.faults.is_empty() {
            self.confirm(piece.leg, observer);
            self.batch.release_next(piece.leg);
        } else {
            self.failed(piece.leg, observer);
        }
    }

    /// Settles a leg as published.
    pub(super) fn confirm(&mut self, index: usize, observer: &mut impl Observer) {
        self.forget_unreached(index);
        let leg = &mut self.batch.legs[index];
        leg.state = State::Settled;
        observer.outcome(&leg.envelope, &leg.name, Outcome::Published);
        match leg.place {
            Place::Pending { row } => {
                self.batch.rows[row].is_confirmed = true;
                self.leave_row(row);
            }
            Place::Held { position } => {
                let route = Arc::clone(&leg.name);
                self.settled
                    .push(Settlement::HeldPublished { position, route });
            }
        }
    }

    pub(super) fn failed(&mut self, index: usize, observer: &mut impl Observer) {
        let leg = &mut self.batch.legs[index];
        let fault = Fault::of(leg);
        let (holds, is_chained) = (leg.holds, leg.is_chained);
        // Only an answer about the event is an attempt at it.
        let attempts = leg
            .attempts
            .saturating_add(u32::from(fault.class.is_answer()));
        let policies = leg.route.retry.unwrap_or(self.retry);
        let cause = match fault.class {
            FailureClass::Permanent => Some(Burial::PERMANENT),
            FailureClass::Transient if policies.transient.is_exhausted(attempts) => {
                Some(Burial::MAX_ATTEMPTS)
            }
            FailureClass::Transient | FailureClass::Throttled | FailureClass::Unavailable => None,
        };
        match cause {
            Some(cause) => match self.fallback(&Arc::clone(&self.batch.legs[index].route)) {
                Some(to) => {
                    let outcome = Outcome::FellBack {
                        attempts,
                        to: &to.name,
                        error: &fault.text,
                    };
                    let leg = &self.batch.legs[index];
                    observer.outcome(&leg.envelope, &leg.name, outcome);
                    self.fall_back(index, &to);
                    if holds && !is_chained {
                        // Another relay could send it once more where it failed. Until it has
                        // moved, nothing overtakes it.
                        return;
                    }
                }
                None => self.bury(index, attempts, cause, fault.text, holds, observer),
            },
            None => self.try_again(index, attempts, fault, &policies, observer),
        }
        if holds {
            self.cut_followers(index, observer);
        }
        self.batch.release_next(index);
    }

    fn try_again(
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
            text,
        } = fault;
        let (position, name) = self.key(index);
        let drawn = match class {
            FailureClass::Unavailable => {
                let is_suspect = self.batch.legs[index].is_suspect;
                self.unreached
                    .note(position, &name, is_suspect, &mut self.random)
            }
            FailureClass::Throttled => policies.throttled.wait(attempts.max(1), &mut self.random),
            FailureClass::Transient | FailureClass::Permanent => {
                self.unreached.answered(position, &name);
                policies.transient.wait(attempts.max(1), &mut self.random)
            }
        };
        let after = retry_after.map_or(drawn, |asked| asked.max(drawn));
        let leg = &self.batch.legs[index];
        let outcome = Outcome::Retry {
            attempts,
            after,
            class,
            error: &text,
        };
        observer.outcome(&leg.envelope, &leg.name, outcome);
        let delivered = leg.delivered.clone();
        self.hold_failed(
            index,
            Failure {
                attempts,
                retry_after: after,
                error: text,
                delivered,
            },
        );
    }

    /// The position of a leg's row, and its name.
    fn key(&self, index: usize) -> (i64, Arc<str>) {
        let leg = &self.batch.legs[index];
        let position = match leg.place {
            Place::Pending { row } => self.batch.rows[row].position,
            Place::Held { position } => position,
        };
        (position, Arc::clone(&leg.name))
    }

    fn forget_unreached(&mut self, index: usize) {
        let (position, name) = self.key(index);
        self.unreached.forget(position, &name);
    }

    /// Where an event goes that its route gives up; nowhere if that led back to where it comes
    /// from.
    fn fallback(&self, route: &Route) -> Option<Arc<Route>> {
        let first = route.fallback.as_ref()?;
        let mut at = Arc::clone(first);
        for _ in 0..LONGEST_CHAIN {
            if at.name == route.name {
                return None;
            }
            // What the router says of a route is what the event will find there.
            let known = self.router.named(&at.name);
            match &known.unwrap_or(&at).fallback {
                None => return Some(Arc::clone(first)),
                Some(next) => at = Arc::clone(next),
            }
        }
        None
    }

    fn fall_back(&mut self, index: usize, to: &Arc<Route>) {
        self.forget_unreached(index);
        let leg = &mut self.batch.legs[index];
        leg.state = State::Settled;
        let ordered = leg.envelope.is_ordered() && to.head_of_line == HeadOfLine::Hold;
        let (name, envelope) = (Arc::clone(&leg.name), Arc::clone(&leg.envelope));
        let route = Arc::clone(&to.name);
        if ordered {
            self.blocked.insert(&route, &envelope);
        }
        match leg.place {
            Place::Held { position } => {
                self.settled.push(Settlement::HeldMoved {
                    position,
                    route: name,
                    to: route,
                    ordered,
                });
            }
            Place::Pending { row } => {
                let legs = self.batch.rows[row].legs.clone();
                let goes_there_anyway = self.batch.legs[legs].iter().any(|leg| leg.name == route);
                if !goes_there_anyway {
                    if ordered {
                        self.batch.fallen.push((row, Stream::of(&route, &envelope)));
                    }
                    let position = self.batch.rows[row].position;
                    self.batch.rows[row].is_moved = true;
                    self.settled.push(Settlement::Hold {
                        position,
                        route,
                        ordered,
                        why: Held::Behind,
                    });
                }
                self.leave_row(row);
            }
        }
    }

    pub(super) fn hold_failed(&mut self, index: usize, failure: Failure) {
        match self.batch.legs[index].place {
            Place::Pending { .. } => self.hold(index, Held::Failed(failure)),
            Place::Held { .. } => self.held_failed(index, failure),
        }
    }

    /// Records that a held row waits on.
    pub(super) fn held_failed(&mut self, index: usize, failure: Failure) {
        let leg = &mut self.batch.legs[index];
        leg.state = State::Settled;
        if let Place::Held { position } = leg.place {
            let route = Arc::clone(&leg.name);
            self.settled.push(Settlement::HeldFailed {
                position,
                route,
                failure,
            });
        }
    }

    /// Holds a pending row on one of its routes. One that is held already stays where it is.
    pub(super) fn hold(&mut self, index: usize, why: Held) {
        let leg = &mut self.batch.legs[index];
        leg.state = State::Settled;
        let Place::Pending { row } = leg.place else {
            return;
        };
        let (route, ordered) = (Arc::clone(&leg.name), leg.holds);
        if ordered {
            leg.state = State::Held;
            self.blocked.insert(&route, &leg.envelope);
        }
        let position = self.batch.rows[row].position;
        self.batch.rows[row].is_moved = true;
        self.settled.push(Settlement::Hold {
            position,
            route,
            ordered,
            why,
        });
        self.leave_row(row);
    }

    pub(super) fn hold_back(&mut self, index: usize, reason: Reason, observer: &mut impl Observer) {
        let leg = &self.batch.legs[index];
        if let Place::Pending { .. } = leg.place {
            observer.outcome(&leg.envelope, &leg.name, Outcome::HeldBack(reason));
        }
        self.hold(index, Held::Behind);
    }

    pub(super) fn bury(
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
        leg.state = State::Settled;
        observer.outcome(
            &leg.envelope,
            &leg.name,
            Outcome::Dead {
                attempts,
                cause,
                error: &error,
            },
        );
        let delivered = std::mem::take(&mut leg.delivered);
        let dead = Burial {
            attempts,
            error,
            cause: Cow::Borrowed(cause),
            parks,
            delivered,
        };
        let route = Arc::clone(&leg.name);
        if parks {
            self.blocked.insert(&route, &leg.envelope);
        }
        match leg.place {
            Place::Pending { row } => {
                let position = self.batch.rows[row].position;
                self.batch.rows[row].is_moved = true;
                self.settled.push(Settlement::Bury {
                    position,
                    route,
                    dead,
                });
                self.leave_row(row);
            }
            Place::Held { position } => self.settled.push(Settlement::HeldBury {
                position,
                route,
                dead,
            }),
        }
    }

    /// Notes that a pending row is settled on one more of its routes.
    fn leave_row(&mut self, row: usize) {
        let row = &mut self.batch.rows[row];
        row.open -= 1;
        if row.open == 0 && !row.is_moved {
            self.settled.push(Settlement::Published {
                position: row.position,
            });
        }
    }

    /// Keeps everything behind a failed row from being sent, and holds back what is pending of it.
    fn cut_followers(&mut self, failed: usize, observer: &mut impl Observer) {
        for index in self.batch.cut_followers(failed) {
            self.hold_back(index, Reason::Order, observer);
        }
    }
}

impl Fault {
    /// The gravest of what went wrong: what will not pass by itself for one destination passes for
    /// none.
    fn of(leg: &mut Leg) -> Self {
        let faults = std::mem::take(&mut leg.faults);
        let gravity = |class| match class {
            FailureClass::Permanent => 3,
            FailureClass::Transient => 2,
            FailureClass::Unavailable => 1,
            FailureClass::Throttled => 0,
        };
        let classes = faults.iter().map(|(_, error)| error.class());
        let class = classes
            .max_by_key(|class| gravity(*class))
            .unwrap_or(FailureClass::Unavailable);
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
