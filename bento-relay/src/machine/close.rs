//! The end of a batch, and the legs that were not answered.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::leg::{Leg, LegState, Stream};
use super::{Admission, Machine, Observer, Reason, Routing};
use crate::store::{Failure, Outcome};

impl<R: Routing> Machine<R> {
    /// Ends the batch. A row that was not answered stays in the store and comes again. It is held
    /// instead if its destination is unavailable, if it leaves the outbox because of another
    /// destination, or if a later row that does would overtake it.
    pub fn close(&mut self, observer: &mut impl Observer) {
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
            let fallen = self
                .batch
                .fallen
                .iter()
                .filter(|(of, _)| *of == row)
                .map(|(_, stream)| stream.clone());
            later.extend(fallen);
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
        leg.members
            .iter()
            .any(|member| self.batch.outlets[member.outlet].admission != Admission::Open)
    }

    fn hold_unanswered(&mut self, index: usize, observer: &mut impl Observer) {
        let leg = &self.batch.legs[index];
        let reason = if self.is_away(leg) {
            Reason::Away
        } else {
            Reason::Unfinished
        };
        if leg.is_partial {
            let failure = unfinished(leg);
            self.hold(index, Outcome::Retry(failure));
        } else {
            self.hold_untried(index, reason, observer);
        }
    }
}

/// A failure that counts no attempt; the missing destinations are due at once.
pub(super) fn unfinished(leg: &Leg) -> Failure {
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
