//! One destination of one route, in one batch: the waves that go there.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::leg::{Leg, LegState};
use super::streams::Stream;
use super::{Admission, Machine, Reach, Routing};
use crate::publish::{Answering, Delivery, Destination};
use crate::retry::RetryPolicies;

/// One destination of one route. Two routes to one destination are two outlets, so that one call
/// never holds two events of one aggregate.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) route: Arc<str>,
    pub(super) destination: Destination,
    pub(super) reach: Reach,
    /// The indexes of the legs that may be sent.
    pub(super) ready: Vec<usize>,
    /// The remaining parts of a wave that was divided, the next part last.
    parts: Vec<Vec<usize>>,
    /// The trials that are left for a destination whose circuit was open; `None` until they are
    /// chosen.
    trials: Option<Vec<usize>>,
    /// The number of waves of each company that are out.
    out: [usize; 3],
    /// Memory to be used again.
    spare: Vec<usize>,
}

/// The company in which an event is sent. Events that have failed do not drag down those that have
/// not, and the last attempt is made alone: an event that makes the publisher hang or panic ends as
/// the only dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Company {
    Untried = 0,
    Retried = 1,
    Alone = 2,
}

/// The most events that are sent alone at a time.
const ALONE_AT_ONCE: usize = 8;

/// Deliveries for one destination, to be published together.
#[derive(Debug)]
pub(crate) struct Wave {
    pub(super) batch: u64,
    pub(super) outlet: usize,
    /// The indexes of the legs in the batch, in the order of the deliveries.
    pub(super) legs: Vec<usize>,
    destination: Arc<str>,
    deliveries: Vec<Delivery>,
    company: Company,
    is_trial: bool,
    answering: Answering,
}

impl Wave {
    /// The deliveries for the publisher; never empty.
    pub(crate) fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// Sets the time by which the publisher must answer; see [`Delivery::answer_by`].
    pub(crate) fn answer_by(&mut self, answer_by: Option<Instant>) {
        self.deliveries
            .iter_mut()
            .for_each(|delivery| delivery.answer_by = answer_by);
    }

    /// The name of the destination of all of them.
    pub(crate) fn destination(&self) -> &Arc<str> {
        &self.destination
    }

    /// True if its answer closes the circuit of its destination, or opens it again.
    pub(crate) fn is_trial(&self) -> bool {
        self.is_trial
    }

    /// The way in which its destination answers.
    pub(crate) fn answering(&self) -> Answering {
        self.answering
    }
}

impl Outlet {
    pub(super) fn new(route: Arc<str>, destination: Destination, reach: Reach) -> Self {
        Self {
            route,
            destination,
            reach,
            ready: Vec::new(),
            parts: Vec::new(),
            trials: None,
            out: [0; 3],
            spare: Vec::new(),
        }
    }

    /// The legs of the next wave; `None` while it has to wait.
    fn next(
        &mut self,
        legs: &[Leg],
        retry: &RetryPolicies,
        random: &mut fastrand::Rng,
        take_slot: &mut impl FnMut(&Arc<str>) -> bool,
    ) -> Option<(Vec<usize>, Company)> {
        self.ready.retain(|&leg| legs[leg].state == LegState::Sent);
        match self.reach.admission {
            Admission::Away | Admission::Busy => return None,
            Admission::Trial => {
                return self
                    .next_trial(legs, random)
                    .map(|leg| (vec![leg], Company::Alone));
            }
            // A trial was answered: what was chosen for other trials goes with the rest.
            Admission::Open => self.ready.extend(self.trials.take().into_iter().flatten()),
        }
        if self.reach.answering.is_one_by_one() {
            let may_begin = !self.ready.is_empty() && take_slot(&self.destination.name);
            return may_begin.then(|| (vec![self.ready.remove(0)], Company::Alone));
        }
        // Beside a wave of many only events that are sent alone may go.
        if self.is_crowded() {
            return self.next_alone(legs, retry);
        }
        // The parts of a divided wave come first, so that a chained stream keeps its order.
        while let Some(mut part) = self.parts.pop() {
            part.retain(|&leg| legs[leg].state == LegState::Sent);
            if !part.is_empty() {
                return Some((part, Company::Untried));
            }
        }
        if self.reach.chains {
            let all = self.take(|_| true);
            return (!all.is_empty()).then_some((all, Company::Untried));
        }
        for company in [Company::Untried, Company::Retried] {
            let crowd = self.take(|leg| company_of(&legs[leg], retry) == company);
            if !crowd.is_empty() {
                return Some((crowd, company));
            }
        }
        self.next_alone(legs, retry)
    }

    fn is_one_by_one_and_open(&self) -> bool {
        self.reach.answering.is_one_by_one() && self.reach.admission == Admission::Open
    }

    /// The number of waves that are out.
    pub(super) fn out(&self) -> usize {
        self.out.iter().sum()
    }

    /// True while a wave of many is out.
    fn is_crowded(&self) -> bool {
        self.out[Company::Untried as usize] + self.out[Company::Retried as usize] > 0
    }

    fn next_alone(&mut self, legs: &[Leg], retry: &RetryPolicies) -> Option<(Vec<usize>, Company)> {
        if self.reach.chains || self.out[Company::Alone as usize] >= ALONE_AT_ONCE {
            return None;
        }
        let goes_alone = |&leg: &usize| company_of(&legs[leg], retry) == Company::Alone;
        let index = self.ready.iter().position(goes_alone)?;
        Some((vec![self.ready.remove(index)], Company::Alone))
    }

    /// The next trial of a destination whose circuit was open: a random held event, so that a bad
    /// one is not tried again and again, and a pending one; each the first of its stream, and each
    /// alone, so that the answer is about it.
    fn next_trial(&mut self, legs: &[Leg], random: &mut fastrand::Rng) -> Option<usize> {
        if self.trials.is_none() && !self.ready.is_empty() {
            let mut streams = HashSet::new();
            let is_first = |leg: &&usize| {
                let leg = &legs[**leg];
                !leg.envelope.is_ordered() || streams.insert(Stream::of(&leg.name, &leg.envelope))
            };
            let is_held = |leg: &usize| legs[*leg].is_held_row();
            let (held, pending): (Vec<_>, Vec<_>) = self
                .ready
                .iter()
                .filter(is_first)
                .copied()
                .partition(is_held);
            let chosen: Vec<_> = pending
                .first()
                .copied()
                .into_iter()
                .chain(random.choice(held))
                .collect();
            self.ready.retain(|leg| !chosen.contains(leg));
            self.trials = Some(chosen);
        }
        self.trials.as_mut()?.pop()
    }

    fn take(&mut self, is_wanted: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut taken = std::mem::take(&mut self.spare);
        if self.ready.iter().all(|&leg| is_wanted(leg)) {
            taken.append(&mut self.ready);
        } else {
            taken.extend(self.ready.extract_if(.., |leg| is_wanted(*leg)));
        }
        if taken.is_empty() {
            self.spare = std::mem::take(&mut taken);
        }
        taken
    }
}

fn company_of(leg: &Leg, retry: &RetryPolicies) -> Company {
    match leg.attempts {
        _ if leg.is_suspect => Company::Alone,
        0 => Company::Untried,
        // The second attempt is made in company, unless it is the last one.
        1 if !leg
            .route
            .retry
            .as_ref()
            .unwrap_or(retry)
            .transient
            .is_exhausted(2) =>
        {
            Company::Retried
        }
        _ => Company::Alone,
    }
}

impl<R: Routing> Machine<R> {
    /// The next deliveries to publish together, for any destination; `None` until an answer comes
    /// or a slot is free, and at the end of the batch.
    ///
    /// `take_slot` is asked for each wave to a destination that answers one by one: it takes the
    /// place of one call, or returns false if all are taken.
    pub(crate) fn next_wave(
        &mut self,
        take_slot: &mut impl FnMut(&Arc<str>) -> bool,
    ) -> Option<Wave> {
        let (batch, legs) = (self.batch.number, &mut self.batch.legs);
        for (index, outlet) in self.batch.outlets.iter_mut().enumerate() {
            let is_trial = outlet.reach.admission == Admission::Trial;
            let next = outlet.next(legs, &self.retry, &mut self.random, take_slot);
            let Some((sent, company)) = next else {
                continue;
            };
            outlet.out[company as usize] += 1;
            let mut deliveries = std::mem::take(&mut self.spare);
            deliveries.extend(sent.iter().map(|&leg| {
                let leg = &mut legs[leg];
                leg.out.push(Arc::clone(&outlet.destination.name));
                let envelope = Arc::clone(&leg.envelope);
                Delivery {
                    attempts: leg.attempts,
                    ..Delivery::new(envelope, outlet.destination.clone())
                }
            }));
            let destination = Arc::clone(&outlet.destination.name);
            return Some(Wave {
                batch,
                outlet: index,
                legs: sent,
                destination,
                deliveries,
                company,
                is_trial,
                answering: outlet.reach.answering,
            });
        }
        None
    }

    /// Takes back a wave whose publishing broke off without an answer, because the publisher
    /// panicked: one of its events is to blame. They are sent again in two parts.
    ///
    /// # Panics
    /// If the wave holds one event only: that one is to blame. If it [is late](Self::is_late): its
    /// batch has ended.
    pub(crate) fn divide(&mut self, wave: Wave) {
        assert!(wave.legs.len() > 1, "a wave of one event cannot be divided");
        assert!(
            !self.is_late(&wave),
            "a wave that is late cannot be divided"
        );
        let outlet = wave.outlet;
        let mut first = self.finish(wave);
        let second = first.split_off(first.len() / 2);
        // The last one in the list is sent next.
        self.batch.outlets[outlet].parts.extend([second, first]);
    }

    /// Sends nothing more to a destination in this batch: it is unavailable. Its events are held,
    /// untried.
    pub(crate) fn shut(&mut self, destination: &str) {
        let theirs = self
            .batch
            .outlets
            .iter_mut()
            .filter(|outlet| *outlet.destination.name == *destination);
        theirs.for_each(|outlet| outlet.reach.admission = Admission::Away);
    }

    /// True while events could be sent that have no slot.
    pub(crate) fn wants_slots(&self) -> bool {
        self.wanting_slots().next().is_some()
    }

    /// The destinations of events that have no slot.
    pub(crate) fn wanting_slots(&self) -> impl Iterator<Item = &Arc<str>> {
        let legs = &self.batch.legs;
        let wants = move |outlet: &&Outlet| {
            let mut ready = outlet.ready.iter();
            outlet.is_one_by_one_and_open() && ready.any(|&leg| legs[leg].state == LegState::Sent)
        };
        self.batch
            .outlets
            .iter()
            .filter(wants)
            .map(|outlet| &outlet.destination.name)
    }

    /// True while a wave is out to a destination that answers for a batch together.
    pub(crate) fn awaits_a_batch(&self) -> bool {
        let mut outlets = self.batch.outlets.iter();
        outlets.any(|outlet| !outlet.reach.answering.is_one_by_one() && outlet.out() > 0)
    }

    /// The longest time for one call of the destinations of this batch, where they have their own.
    pub(crate) fn longest_limit(&self) -> Option<Duration> {
        let outlets = self.batch.outlets.iter();
        outlets
            .filter_map(|outlet| outlet.reach.answering.limit())
            .max()
    }

    /// Notes that a wave is back, and returns its legs.
    pub(super) fn finish(&mut self, wave: Wave) -> Vec<usize> {
        let Wave {
            outlet,
            legs,
            destination,
            mut deliveries,
            company,
            ..
        } = wave;
        self.batch.outlets[outlet].out[company as usize] -= 1;
        for &leg in &legs {
            self.batch.legs[leg].came_back(&destination);
        }
        deliveries.clear();
        if deliveries.capacity() > self.spare.capacity() {
            self.spare = deliveries;
        }
        legs
    }

    /// Keeps the memory of a wave for the next one.
    pub(super) fn keep(&mut self, outlet: usize, mut legs: Vec<usize>) {
        legs.clear();
        self.batch.outlets[outlet].spare = legs;
    }
}
