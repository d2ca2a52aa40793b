//! Late waves: their legs leave the batch, and are settled when the answers come.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::close::unfinished;
use super::leg::{Leg, LegState, Stream};
use super::outlet::{Outlet, Wave};
use super::{Machine, Observer, Routing};
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
    /// True while a wave of this batch is out.
    pub fn is_waiting(&self) -> bool {
        self.batch.outlets.iter().any(|outlet| outlet.out() > 0)
    }

    /// True if the batch of a wave has ended without it.
    pub fn is_late(&self, wave: &Wave) -> bool {
        wave.batch != self.batch.number
    }

    /// Makes the waves of this batch late that are out; [`close`](Self::close) the batch next. Their
    /// events are held for `wait`, which is longer than any answer takes. Returns the destination of
    /// each wave; until the wave is back, nothing else is to be sent there.
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
                observer.outcome(&leg.envelope, &leg.name, super::Outcome::Late);
                let failure = still_being_sent(leg, wait);
                self.hold(index, Outcome::Retry(failure));
            }
        }
        late
    }

    /// Takes the legs that are out from the batch that ends. Their rows are among the held ones now.
    pub(super) fn keep_late(&mut self) {
        let batch = self.batch.number;
        let legs = self.batch.legs.drain(..).enumerate();
        for (index, leg) in legs.filter(|(_, leg)| leg.out() > 0) {
            let open = leg.out();
            let leg = Leg {
                row: None,
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
    pub(super) fn keep_late_progress(&mut self) {
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
        for (place, (piece, answer)) in wave.pieces.iter().zip(answers).enumerate() {
            let key = (wave.batch, piece.leg);
            let Some(leg) = self.late.legs.get_mut(&key) else {
                continue;
            };
            let is_behind =
                leg.is_chained && failed.contains(&Stream::of(&leg.name, &leg.envelope));
            leg.is_suspect |= is_suspect(place);
            leg.take_late_answer(piece.member, Some(answer).filter(|_| !is_behind));
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

/// A failure that counts no attempt; not due before the last time for an answer.
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
