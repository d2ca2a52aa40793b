//! The end of a batch: what becomes of what was not answered.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::batch::{Leg, Place, State, Stream};
use super::{Admission, Machine, Observer, Reason, Routing};
use crate::store::{Failure, Held};

impl<R: Routing> Machine<R> {
    /// Ends the batch. What was not answered stays in the store and comes again, unless its
    /// destination is away, or its row leaves the outbox for the sake of another destination, or it
    /// would be overtaken by a later row that does: then it is held.
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

    /// Remembers who has confirmed a held row of several destinations that was not finished.
    fn keep_partial(&mut self) {
        for index in 0..self.batch.legs.len() {
            let leg = &self.batch.legs[index];
            if leg.is_open() && leg.is_partial && matches!(leg.place, Place::Held { .. }) {
                let failure = unfinished(leg);
                self.held_failed(index, failure);
            }
        }
    }

    /// Goes back from the last row: one that is held draws every earlier one of its streams after
    /// it.
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
                if leg.state == State::Held {
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
            let why = Held::Failed(unfinished(leg));
            self.hold(index, why);
        } else {
            self.hold_back(index, reason, observer);
        }
    }
}

/// No attempt more; what is left is due at once.
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
