//! Taking answers: confirmed, tried again, given up.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::batch::{Leg, Place, State, Stream};
use super::outlet::{Piece, Wave};
use super::{Admission, Machine, Observer, Outcome, Reason, Routing};
use crate::publish::{FailureClass, PublishError};
use crate::relay::store::{Burial, Failure, Held, Settlement};
use crate::route::{HeadOfLine, Route};

/// The longest error text that is recorded, in bytes.
pub(super) const ERROR_LIMIT: usize = 4096;

pub(in crate::relay) const TOO_FEW_ANSWERS: &str = "the publisher answered for fewer events than it was given";

/// How many fallbacks of fallbacks are looked at for a circle.
const LONGEST_CHAIN: usize = 32;

/// What the failures of a leg come to.
struct Fault {
    class: FailureClass,
    retry_after: Option<Duration>,
    text: String,
}

impl<R: Routing> Machine<R> {
    /// Takes the answers to a wave, in its order. A missing one counts as a transient failure.
    pub fn answer(&mut self, wave: Wave, answers: Vec<Result<(), PublishError>>, observer: &mut impl Observer) {
        if self.is_late(&wave) {
            return self.answer_late(wave, answers, observer);
        }
        let outlet = wave.outlet;
        let pieces = self.finish(wave);
        // Somebody answered, so it is back.
        if self.batch.outlets[outlet].admission == Admission::Trial {
            self.batch.outlets[outlet].admission = Admission::Open;
        }
        let mut answers = answers.into_iter();
        for &piece in &pieces {
            let answer = answers.next().unwrap_or_else(|| Err(PublishError::transient(TOO_FEW_ANSWERS)));
            self.answered(piece, answer, false, observer);
        }
        self.keep(outlet, pieces);
    }

    /// Takes back a wave that failed as a whole, for the moment. An event that was not alone in it has one more attempt, alone, before it
    /// is given up.
    pub fn fail(&mut self, wave: Wave, reason: &str, observer: &mut impl Observer) {
        if self.is_late(&wave) {
            return self.fail_late(wave, reason, observer);
        }
        let outlet = wave.outlet;
        let pieces = self.finish(wave);
        let was_in_company = pieces.len() > 1;
        for &piece in &pieces {
            let error = PublishError::transient(reason.to_owned());
            self.answered(piece, Err(error), was_in_company, observer);
        }
        self.keep(outlet, pieces);
    }

    fn answered(
        &mut self,
        piece: Piece,
        answer: Result<(), PublishError>,
        was_in_company: bool,
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
        leg.open -= 1;
        if leg.open > 0 {
            return;
        }
        if leg.faults.is_empty() {
            self.confirm(piece.leg, observer);
            self.batch.release_next(piece.leg);
        } else {
            self.failed(piece.leg, was_in_company, observer);
        }
    }

    /// Settles a leg as published.
    pub(super) fn confirm(&mut self, index: usize, observer: &mut impl Observer) {
        let leg = &mut self.batch.legs[index];
        leg.state = State::Settled;
        observer.outcome(&leg.envelope, &leg.name, Outcome::Published);
        match leg.place {
            Place::Fresh { row } => {
                self.batch.rows[row].is_confirmed = true;
                self.leave_row(row);
            }
            Place::Held { position } => {
                let destination = Arc::clone(&leg.name);
                self.settled.push(Settlement::HeldPublished { position, destination });
            }
        }
    }

    pub(super) fn failed(&mut self, index: usize, was_in_company: bool, observer: &mut impl Observer) {
        let leg = &mut self.batch.legs[index];
        let Fault { class, retry_after, text } = Fault::of(leg);
        let (holds, is_chained) = (leg.holds, leg.is_chained);
        // A broker that asks for less says nothing about the event, so this is no attempt at it.
        let attempts = leg.attempts.saturating_add(u32::from(class != FailureClass::Throttled));
        let policies = leg.route.retry.unwrap_or(self.retry);
        let cause = match class {
            FailureClass::Permanent => Some(Burial::PERMANENT),
            FailureClass::Transient if !was_in_company && policies.transient.is_exhausted(attempts) => {
                Some(Burial::MAX_ATTEMPTS)
            }
            FailureClass::Transient | FailureClass::Throttled => None,
        };
        match cause {
            Some(cause) => match self.fallback(&Arc::clone(&self.batch.legs[index].route)) {
                Some(to) => {
                    let outcome = Outcome::FellBack { attempts, to: &to.name, error: &text };
                    let leg = &self.batch.legs[index];
                    observer.outcome(&leg.envelope, &leg.name, outcome);
                    self.fall_back(index, &to);
                    if holds && !is_chained {
                        // Another relay could send it once more where it failed. Until it has moved, nothing overtakes it.
                        return;
                    }
                }
                None => self.bury(index, attempts, cause, text, holds, observer),
            },
            None => {
                let policy = if class == FailureClass::Throttled { policies.throttled } else { policies.transient };
                let drawn = policy.wait(attempts.max(1), &mut self.random);
                let after = retry_after.map_or(drawn, |asked| asked.max(drawn));
                let leg = &self.batch.legs[index];
                let outcome = Outcome::Retry { attempts, after, class, error: &text };
                observer.outcome(&leg.envelope, &leg.name, outcome);
                let delivered = leg.delivered.clone();
                self.hold_failed(index, Failure { attempts, retry_after: after, error: text, delivered });
            }
        }
        if holds {
            self.cut_followers(index, observer);
        }
        self.batch.release_next(index);
    }

    /// Where an event goes that its route gives up; nowhere if that led back to where it comes from.
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
        let leg = &mut self.batch.legs[index];
        leg.state = State::Settled;
        let ordered = leg.envelope.is_ordered() && to.head_of_line == HeadOfLine::Hold;
        let (name, envelope) = (Arc::clone(&leg.name), Arc::clone(&leg.envelope));
        let destination = Arc::clone(&to.name);
        if ordered {
            self.blocked.insert(&destination, &envelope);
        }
        match leg.place {
            Place::Held { position } => {
                self.settled.push(Settlement::HeldMoved { position, destination: name, to: destination, ordered });
            }
            Place::Fresh { row } => {
                let legs = self.batch.rows[row].legs.clone();
                let goes_there_anyway = self.batch.legs[legs].iter().any(|leg| leg.name == destination);
                if !goes_there_anyway {
                    if ordered {
                        self.batch.fallen.push((row, Stream::of(&destination, &envelope)));
                    }
                    let position = self.batch.rows[row].position;
                    self.batch.rows[row].is_moved = true;
                    self.settled.push(Settlement::Hold { position, destination, ordered, why: Held::Behind });
                }
                self.leave_row(row);
            }
        }
    }

    pub(super) fn hold_failed(&mut self, index: usize, failure: Failure) {
        match self.batch.legs[index].place {
            Place::Fresh { .. } => self.hold(index, Held::Failed(failure)),
            Place::Held { .. } => self.held_failed(index, failure),
        }
    }

    /// Records that a held row waits on.
    pub(super) fn held_failed(&mut self, index: usize, failure: Failure) {
        let leg = &mut self.batch.legs[index];
        leg.state = State::Settled;
        if let Place::Held { position } = leg.place {
            let destination = Arc::clone(&leg.name);
            self.settled.push(Settlement::HeldFailed { position, destination, failure });
        }
    }

    /// Holds a fresh row on one of its routes. One that is held already stays where it is.
    pub(super) fn hold(&mut self, index: usize, why: Held) {
        let leg = &mut self.batch.legs[index];
        leg.state = State::Settled;
        let Place::Fresh { row } = leg.place else { return };
        let (destination, ordered) = (Arc::clone(&leg.name), leg.holds);
        if ordered {
            leg.state = State::Held;
            self.blocked.insert(&destination, &leg.envelope);
        }
        let position = self.batch.rows[row].position;
        self.batch.rows[row].is_moved = true;
        self.settled.push(Settlement::Hold { position, destination, ordered, why });
        self.leave_row(row);
    }

    pub(super) fn hold_back(&mut self, index: usize, reason: Reason, observer: &mut impl Observer) {
        let leg = &self.batch.legs[index];
        if let Place::Fresh { .. } = leg.place {
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
        let leg = &mut self.batch.legs[index];
        leg.state = State::Settled;
        observer.outcome(&leg.envelope, &leg.name, Outcome::Dead { attempts, cause, error: &error });
        let delivered = std::mem::take(&mut leg.delivered);
        let dead = Burial { attempts, error, cause: Cow::Borrowed(cause), parks, delivered };
        let destination = Arc::clone(&leg.name);
        if parks {
            self.blocked.insert(&destination, &leg.envelope);
        }
        match leg.place {
            Place::Fresh { row } => {
                let position = self.batch.rows[row].position;
                self.batch.rows[row].is_moved = true;
                self.settled.push(Settlement::Bury { position, destination, dead });
                self.leave_row(row);
            }
            Place::Held { position } => self.settled.push(Settlement::HeldBury { position, destination, dead }),
        }
    }

    /// Notes that a fresh row is settled on one more of its routes.
    fn leave_row(&mut self, row: usize) {
        let row = &mut self.batch.rows[row];
        row.open -= 1;
        if row.open == 0 && !row.is_moved {
            self.settled.push(Settlement::Published { position: row.position });
        }
    }

    /// Keeps everything behind a failed row from being sent, and holds back what is fresh of it.
    fn cut_followers(&mut self, failed: usize, observer: &mut impl Observer) {
        for index in self.batch.cut_followers(failed) {
            self.hold_back(index, Reason::Order, observer);
        }
    }
}

impl Fault {
    /// The gravest of what went wrong: what will not pass by itself for one destination passes for none.
    fn of(leg: &mut Leg) -> Self {
        let faults = std::mem::take(&mut leg.faults);
        let gravity = |class| match class {
            FailureClass::Permanent => 2,
            FailureClass::Transient => 1,
            FailureClass::Throttled => 0,
        };
        let classes = faults.iter().map(|(_, error)| error.class());
        let class = classes.max_by_key(|class| gravity(*class)).unwrap_or(FailureClass::Transient);
        let retry_after = faults.iter().filter_map(|(_, error)| error.retry_after()).max();
        let text = if leg.route.destinations.len() > 1 {
            let each = faults.iter().map(|(name, error)| format!("{name}: {}", error.chain()));
            let mut text = each.collect::<Vec<_>>().join("; ");
            if !leg.delivered.is_empty() {
                text = format!("{text}; delivered to {}", leg.delivered.join(", "));
            }
            text
        } else {
            faults.first().map(|(_, error)| error.chain()).unwrap_or_default()
        };
        Self { class, retry_after, text: bounded(text) }
    }
}

pub(super) fn bounded(mut error: String) -> String {
    if error.len() > ERROR_LIMIT {
        error.truncate(error.floor_char_boundary(ERROR_LIMIT));
    }
    error
}
