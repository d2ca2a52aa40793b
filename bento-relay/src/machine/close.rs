//! The end of a batch: the legs that were not answered, and those of late waves, which leave the
//! batch and are settled when the answers come.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::leg::{Leg, LegState};
use super::outlet::{Outlet, Wave};
use super::streams::Stream;
use super::{Admission, Decision, Machine, Observer, Reason, Routing};
use crate::publish::PublishError;
use crate::store::{Failure, Outcome};

/// The legs of late waves; all of them are among the held rows.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// Their legs, by the number of the batch and the index in it.
    legs: HashMap<(u64, usize), Leg>,
    /// The longest time that an answer may take.
    wait: Duration,
}

impl Late {
    /// Forgets a leg whose row has come due: its answer comes no more.
    pub(super) fn forget(&mut self, position: i64, name: &Arc<str>) {
        if !self.legs.is_empty() {
            self.legs
                .retain(|_, leg| leg.position != position || leg.name != *name);
        }
    }
}

impl<R: Routing> Machine<R> {
    /// Ends the batch. A row that was not answered stays in the store and comes again. It is held
    /// instead if its destination is unavailable, if it leaves the outbox because of another
    /// destination, or if a later row that does would overtake it.
    pub(crate) fn close(&mut self, observer: &mut impl Observer) {
        // Before the legs of this batch join the late ones.
        self.keep_late_progress();
        if self.batch.legs.iter().any(Leg::is_open) {
            self.keep_partial();
            self.leave_outbox(observer);
        }
        if self.batch.leaves_late {
            self.keep_late();
        }
        self.batch.clear();
    }

    /// Records the destinations that have confirmed a held row of several that is not finished.
    fn keep_partial(&mut self) {
        for index in 0..self.batch.legs.len() {
            let leg = &self.batch.legs[index];
            if leg.is_open() && leg.is_partial && leg.is_held_row() {
                let failure = unfinished(leg);
                self.hold(index, Outcome::Retry(failure));
            }
        }
    }

    /// Goes back from the last row: a row that is held takes every earlier one of its streams with
    /// it, so that none is overtaken.
    fn leave_outbox(&mut self, observer: &mut impl Observer) {
        // The streams of the rows that are held, behind the one that is looked at.
        let mut later = HashSet::new();
        for row in (0..self.batch.rows.len()).rev() {
            let legs = self.batch.rows[row].legs.clone();
            let leaves = self.batch.rows[row].is_moved
                || self.batch.rows[row].is_confirmed
                || legs.clone().any(|index| self.must_leave(index, &later));
            for index in legs {
                if leaves && self.batch.legs[index].is_open() {
                    self.hold_unanswered(index, observer);
                }
                let leg = &self.batch.legs[index];
                if leg.state == LegState::Held {
                    later.insert(Stream::of(&leg.name, &leg.envelope));
                }
            }
            later.extend(self.batch.rows[row].fallen.iter().cloned());
        }
    }

    fn must_leave(&self, index: usize, later: &HashSet<Stream>) -> bool {
        let leg = &self.batch.legs[index];
        let is_overtaken = || {
            leg.holds && !later.is_empty() && later.contains(&Stream::of(&leg.name, &leg.envelope))
        };
        leg.is_open() && (leg.is_partial || self.is_away(leg) || is_overtaken())
    }

    fn is_away(&self, leg: &Leg) -> bool {
        leg.outlets
            .iter()
            .any(|&outlet| self.batch.outlets[outlet].reach.admission != Admission::Open)
    }

    fn has_admission(&self, leg: &Leg, admission: Admission) -> bool {
        let mut outlets = leg.outlets.iter();
        outlets.any(|&outlet| self.batch.outlets[outlet].reach.admission == admission)
    }

    fn hold_unanswered(&mut self, index: usize, observer: &mut impl Observer) {
        let leg = &self.batch.legs[index];
        let reason = if self.has_admission(leg, Admission::Busy) {
            Reason::Busy
        } else if self.is_away(leg) {
            Reason::Away
        } else {
            Reason::Unfinished
        };
        if leg.is_partial {
            let failure = unfinished(leg);
            self.hold(index, Outcome::Retry(failure));
        } else {
            self.hold_behind(index, reason, observer);
        }
    }

    /// True while a wave of this batch is out.
    pub(crate) fn is_waiting(&self) -> bool {
        self.batch.outlets.iter().any(|outlet| outlet.out() > 0)
    }

    /// True if the batch of a wave has ended without it.
    pub(crate) fn is_late(&self, wave: &Wave) -> bool {
        wave.batch != self.batch.number
    }

    /// Makes the waves of this batch late that are out; [`close`](Self::close) the batch next.
    /// Their events are held for `wait`, which is longer than any answer takes. Returns the
    /// destination of each wave; until the wave is back, nothing else is to be sent there. A
    /// destination that answers one by one is not returned: only its events that have not begun
    /// are held, untried.
    pub(crate) fn postpone(
        &mut self,
        wait: Duration,
        observer: &mut impl Observer,
    ) -> Vec<Arc<str>> {
        let destinations = |outlet: &Outlet| {
            std::iter::repeat_n(Arc::clone(&outlet.destination.name), outlet.out())
        };
        let mut late = Vec::new();
        for outlet in &mut self.batch.outlets {
            if outlet.reach.answering.is_one_by_one() {
                outlet.reach.admission = Admission::Busy;
            } else {
                late.extend(destinations(outlet));
            }
        }
        // The rest of the batch for these destinations is held with `close`.
        late.iter().for_each(|destination| self.shut(destination));
        self.late.wait = wait;
        self.batch.leaves_late = true;
        for index in 0..self.batch.legs.len() {
            let leg = &self.batch.legs[index];
            if !leg.out.is_empty() {
                observer.decided(&leg.envelope, &leg.name, Decision::Late);
                let failure = still_being_sent(leg, wait);
                self.hold(index, Outcome::Retry(failure));
            }
        }
        late
    }

    /// Takes the legs that are out from the batch that ends. Their rows are held rows now.
    fn keep_late(&mut self) {
        let batch = self.batch.number;
        let legs = self.batch.legs.drain(..).enumerate();
        for (index, leg) in legs.filter(|(_, leg)| !leg.out.is_empty()) {
            let open = leg.out.len();
            // Its row was moved to the held rows by `postpone`.
            let leg = Leg {
                row: None,
                outlets: SmallVec::new(),
                open,
                is_partial: false,
                next: None,
                state: LegState::Sent,
                ..leg
            };
            self.late.legs.insert((batch, index), leg);
        }
    }

    /// Records the destinations that have confirmed a leg for which others are late.
    fn keep_late_progress(&mut self) {
        let Late { legs, wait } = &mut self.late;
        for leg in legs.values_mut().filter(|leg| leg.is_partial) {
            leg.is_partial = false;
            let failure = still_being_sent(leg, *wait);
            self.settled.push(leg.settlement(Outcome::Retry(failure)));
        }
    }

    /// Takes the answers to a late wave.
    pub(super) fn answer_late(
        &mut self,
        wave: Wave,
        answers: Vec<Result<(), PublishError>>,
        is_suspect: impl Fn(usize) -> bool,
        observer: &mut impl Observer,
    ) {
        let mut failed = HashSet::new();
        for (place, (&leg, answer)) in wave.legs.iter().zip(answers).enumerate() {
            let key = (wave.batch, leg);
            let Some(leg) = self.late.legs.get_mut(&key) else {
                continue;
            };
            let is_behind =
                leg.is_chained && failed.contains(&Stream::of(&leg.name, &leg.envelope));
            leg.is_suspect |= is_suspect(place);
            leg.take_late_answer(wave.destination(), Some(answer).filter(|_| !is_behind));
            if leg.open > 0 {
                continue;
            }
            if leg.is_chained && !leg.is_delivered() {
                failed.insert(Stream::of(&leg.name, &leg.envelope));
            }
            let leg = self.late.legs.remove(&key).expect("it is there");
            self.conclude_late(leg, observer);
        }
    }

    /// Settles a leg whose late destinations have all answered.
    fn conclude_late(&mut self, leg: Leg, observer: &mut impl Observer) {
        let (is_delivered, has_failed) = (leg.is_delivered(), !leg.faults.is_empty());
        let index = self.batch.add(leg);
        if has_failed {
            self.settle_failure(index, observer);
        } else if is_delivered {
            self.settle_published(index, observer);
        } else {
            let failure = unfinished(&self.batch.legs[index]);
            self.hold(index, Outcome::Retry(failure));
        }
    }
}

/// A failure that counts no attempt; the missing destinations are due at once.
fn unfinished(leg: &Leg) -> Failure {
    let missing = leg
        .route
        .destinations
        .iter()
        .map(|destination| &destination.name);
    let missing: Vec<_> = missing
        .filter(|name| !leg.delivered.contains(name))
        .map(Arc::as_ref)
        .collect();
    Failure {
        attempts: leg.attempts,
        retry_after: Duration::ZERO,
        error: format!("not delivered yet to {}", missing.join(", ")),
        delivered: leg.delivered.clone(),
    }
}

/// A failure that counts no attempt; not due before the last time for an answer.
fn still_being_sent(leg: &Leg, wait: Duration) -> Failure {
    Failure {
        attempts: leg.attempts,
        retry_after: wait,
        error: format!("still being sent to {}", leg.out.join(", ")),
        delivered: leg.delivered.clone(),
    }
}
