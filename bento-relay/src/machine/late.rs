//! Waves that are waited for no longer: their legs leave the batch, and are settled when the
//! answers come.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::batch::{Leg, Place, State, Stream};
use super::close::unfinished;
use super::outlet::{Outlet, Wave};
use super::{Machine, Observer, Outcome, Routing};
use crate::publish::PublishError;
use crate::store::{Failure, Settlement};

/// The legs of late waves; all of them are among the held rows.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// By the number of their batch, and their place in it.
    legs: HashMap<(u64, usize), Leg>,
    /// How long an answer may take.
    wait: Duration,
}

impl Late {
    /// Forgets a leg whose row has come due: its answer is not to be expected any more.
    pub(super) fn forget(&mut self, position: i64, name: &Arc<str>) {
        if !self.legs.is_empty() {
            self.legs
                .retain(|_, leg| leg.place != Place::Held { position } || leg.name != *name);
        }
    }
}

impl<R: Routing> Machine<R> {
    /// Whether a wave of this batch is out.
    pub fn is_waiting(&self) -> bool {
        self.batch.outlets.iter().any(|outlet| outlet.out() > 0)
    }

    /// Whether the batch of a wave has ended without it.
    pub fn is_late(&self, wave: &Wave) -> bool {
        wave.batch != self.batch.number
    }

    /// Waits no longer for the waves of this batch that are out; to be [closed](Self::close) next.
    /// Their events are held for `wait`, which is longer than any answer takes. Returns the
    /// destination of each wave; until it is back, nothing else is to be sent there.
    pub fn postpone(&mut self, wait: Duration, observer: &mut impl Observer) -> Vec<Arc<str>> {
        let destinations =
            |outlet: &Outlet| std::iter::repeat_n(Arc::clone(&outlet.destination), outlet.out());
        let late: Vec<_> = self.batch.outlets.iter().flat_map(destinations).collect();
        late.iter().for_each(|destination| self.shut(destination));
        self.late.wait = wait;
        self.batch.leaves_late = true;
        for index in 0..self.batch.legs.len() {
            let leg = &self.batch.legs[index];
            if leg.out() > 0 {
                observer.outcome(&leg.envelope, &leg.name, Outcome::Late);
                let failure = still_being_sent(leg, wait);
                self.hold_failed(index, failure);
            }
        }
        late
    }

    /// Takes what is out from the batch that ends.
    pub(super) fn keep_late(&mut self) {
        let (batch, rows) = (self.batch.number, &self.batch.rows);
        for (index, leg) in self
            .batch
            .legs
            .drain(..)
            .enumerate()
            .filter(|(_, leg)| leg.out() > 0)
        {
            let position = match leg.place {
                Place::Pending { row } => rows[row].position,
                Place::Held { position } => position,
            };
            let (place, open) = (Place::Held { position }, leg.out());
            let leg = Leg {
                place,
                open,
                is_partial: false,
                next: None,
                state: State::Sent,
                ..leg
            };
            self.late.legs.insert((batch, index), leg);
        }
    }

    /// Remembers who has confirmed a leg that others are late with.
    pub(super) fn keep_late_progress(&mut self) {
        let Late { legs, wait } = &mut self.late;
        for leg in legs.values_mut().filter(|leg| leg.is_partial) {
            leg.is_partial = false;
            if let Place::Held { position } = leg.place {
                let (route, failure) = (Arc::clone(&leg.name), still_being_sent(leg, *wait));
                self.settled.push(Settlement::HeldFailed {
                    position,
                    route,
                    failure,
                });
            }
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
        for (place, (piece, answer)) in wave.pieces.iter().zip(answers).enumerate() {
            let key = (wave.batch, piece.leg);
            let Some(leg) = self.late.legs.get_mut(&key) else {
                continue;
            };
            let is_behind =
                leg.is_chained && failed.contains(&Stream::of(&leg.name, &leg.envelope));
            leg.is_suspect |= is_suspect(place);
            leg.hear(piece.member, Some(answer).filter(|_| !is_behind));
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

    /// All that were late with a leg have answered.
    fn conclude_late(&mut self, leg: Leg, observer: &mut impl Observer) {
        let (is_delivered, has_failed) = (leg.is_delivered(), !leg.faults.is_empty());
        let index = self.batch.add(leg);
        if has_failed {
            self.failed(index, observer);
        } else if is_delivered {
            self.confirm(index, observer);
        } else {
            let failure = unfinished(&self.batch.legs[index]);
            self.held_failed(index, failure);
        }
    }
}

impl Leg {
    fn hear(&mut self, member: usize, answer: Option<Result<(), PublishError>>) {
        let name = &self.route.destinations[self.members[member].destination].name;
        match answer {
            Some(Ok(())) => {
                self.delivered.push(Arc::clone(name));
                self.is_partial = true;
            }
            Some(Err(error)) => self.faults.push((Arc::clone(name), error)),
            None => {}
        }
        self.members[member].is_out = false;
        self.open -= 1;
    }

    fn is_delivered(&self) -> bool {
        self.faults.is_empty()
            && self
                .route
                .destinations
                .iter()
                .all(|to| self.delivered.contains(&to.name))
    }
}

/// No attempt more; not due before the answer must be there.
fn still_being_sent(leg: &Leg, wait: Duration) -> Failure {
    let out = leg.members.iter().filter(|member| member.is_out);
    let names: Vec<_> = out
        .map(|member| &*leg.route.destinations[member.destination].name)
        .collect();
    Failure {
        attempts: leg.attempts,
        retry_after: wait,
        error: format!("still being sent to {}", names.join(", ")),
        delivered: leg.delivered.clone(),
    }
}
