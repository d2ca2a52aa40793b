//! One course of events through the handlers.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use bento_core::{Envelope, EventId};
use bento_relay::publish::{FailureClass, PublishError};

use super::step::{End, Named, Step};
use super::stream::{Place, Streams};
use crate::draws::Draws;
use crate::watched::{Calls, Delivered, Watched};

/// The attempts before an event is a dead letter.
const ATTEMPTS: u32 = 5;

/// The most faults of one event, so that a course ends.
const FAULTS: u32 = 3;

/// The chances of a crash and of a lost answer, in percent of the deliveries.
const CHANCE: u8 = 25;

/// The most events of a batch.
const BATCH: usize = 4;

/// The most deliveries of a course. Handlers that raise each other's events go on for long.
const DELIVERIES: u64 = 100_000;

/// The kinds of chaos in a course; none brings the events one by one in their order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chaos {
    /// Calls are cut off, answers are lost, and events come in batches.
    pub(super) crashes: bool,
    /// Only the events of an aggregate keep their order.
    pub(super) reorders: bool,
}

/// The numbers of a course.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) deliveries: u64,
    pub(super) crashes: u64,
    pub(super) lost_answers: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.deliveries += other.deliveries;
        self.crashes += other.crashes;
        self.lost_answers += other.lost_answers;
    }
}

/// The end of a course.
#[derive(Debug)]
pub(super) struct Outcome<T> {
    pub(super) state: T,
    /// The events that ended without being handled: handler, event type and class, with the number.
    pub(super) failures: BTreeMap<String, u64>,
    /// The events that handlers raised: the event type, with the number.
    pub(super) raised: BTreeMap<String, u64>,
    pub(super) counts: Counts,
    pub(super) steps: Vec<Step>,
}

impl<T: PartialEq> Outcome<T> {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.state == other.state && self.failures == other.failures && self.raised == other.raised
    }
}

/// A course that runs.
#[derive(Debug)]
pub(super) struct Course<'a> {
    watched: &'a Watched,
    chaos: Chaos,
    orders: Draws,
    faults: Draws,
    streams: Streams,
    seen: HashSet<EventId>,
    failures: BTreeMap<String, u64>,
    raised: BTreeMap<String, u64>,
    counts: Counts,
    steps: Vec<Step>,
}

impl<'a> Course<'a> {
    pub(super) fn new(watched: &'a Watched, seed: u64, chaos: Chaos) -> Self {
        Self {
            watched,
            chaos,
            // Apart, so that one kind of chaos is the same without the other.
            orders: Draws::new(seed),
            faults: Draws::new(!seed),
            streams: Streams::default(),
            seen: HashSet::new(),
            failures: BTreeMap::new(),
            raised: BTreeMap::new(),
            counts: Counts::default(),
            steps: Vec::new(),
        }
    }

    /// Brings the events, those in the outbox and all that are raised for them, until none is left.
    pub(super) async fn run(&mut self, events: Vec<Envelope>) {
        self.appear(events);
        let outbox = self.watched.outbox().await;
        self.appear(outbox);
        loop {
            let ready = self.streams.ready();
            if ready.is_empty() {
                return;
            }
            let at = if self.chaos.reorders {
                ready[self.orders.below(ready.len())]
            } else {
                self.streams.first(&ready)
            };
            self.deliver(at).await;
            for event in self.appear(self.watched.outbox().await) {
                *self.raised.entry(event).or_default() += 1;
            }
        }
    }

    pub(super) fn ended<T>(self, state: T) -> Outcome<T> {
        Outcome {
            state,
            failures: self.failures,
            raised: self.raised,
            counts: self.counts,
            steps: self.steps,
        }
    }

    /// Takes in events that were not seen before, for each handler that takes them. Returns their
    /// types.
    fn appear(&mut self, events: Vec<Envelope>) -> Vec<String> {
        let mut new = Vec::new();
        for event in events {
            if !self.seen.insert(event.event_id) {
                continue;
            }
            new.push(event.event_type.clone().into_owned());
            let (number, event) = (self.seen.len(), Arc::new(event));
            for handler in self.watched.handlers() {
                if handler.takes_event_type(&event.event_type) {
                    self.streams.add(handler, number, &event);
                }
            }
        }
        new
    }

    /// Delivers the first event of a stream, or several to a handler of batches.
    async fn deliver(&mut self, at: usize) {
        self.counts.deliveries += 1;
        assert!(
            self.counts.deliveries <= DELIVERIES,
            "a course of the simulation does not end after {DELIVERIES} deliveries: handlers \
             probably raise each other's events"
        );
        let handler = self.streams.0[at].handler;
        let most = if handler.is_batch && self.chaos.crashes {
            1 + self.faults.below(BATCH)
        } else {
            1
        };
        let places = self.streams.batch(at, most, !self.chaos.reorders);
        let first = self.streams.at(places[0]);
        let (attempts, may_fault) = (first.attempts, self.chaos.crashes && first.faults < FAULTS);
        let is_cut_off = may_fault && self.faults.happens(CHANCE);
        let loses_answer = may_fault && self.faults.happens(CHANCE);
        let waiting = places.iter().map(|&place| self.streams.at(place));
        let (events, named): (Vec<_>, Vec<_>) = waiting
            .map(|waiting| {
                let event = Arc::clone(&waiting.event);
                let named = Named::new(waiting.number, &event);
                (event, named)
            })
            .unzip();
        let delivered = self
            .watched
            .deliver_in_turn(handler, &events, attempts, is_cut_off)
            .await;
        let end = match delivered {
            (Delivered::CutOff, _) => {
                self.counts.crashes += 1;
                self.count_fault(&places);
                let is_transactional = handler.effect.is_transactional();
                End::CutOff { is_transactional }
            }
            (Delivered::Answered(answers), calls) => {
                let are_handled = answers.iter().all(Result::is_ok) && !calls.keys.is_empty();
                if are_handled && loses_answer {
                    self.counts.lost_answers += 1;
                    self.count_fault(&places);
                    End::AnswerLost
                } else {
                    let end = end_of(&answers, &calls);
                    self.settle(&places, answers);
                    end
                }
            }
        };
        self.steps.push(Step {
            handler: handler.name,
            events: named,
            end,
        });
    }

    fn count_fault(&mut self, places: &[Place]) {
        for &place in places {
            self.streams.at_mut(place).faults += 1;
        }
    }

    /// Removes what is handled or a dead letter. Behind an event that failed the rest of its stream
    /// waits.
    fn settle(&mut self, places: &[Place], answers: Vec<Result<(), PublishError>>) {
        let mut gone: BTreeSet<Place> = BTreeSet::new();
        let mut failed: BTreeSet<usize> = BTreeSet::new();
        for (&place, answer) in places.iter().zip(answers) {
            match answer {
                Ok(()) => {
                    gone.insert(place);
                }
                Err(error) if failed.insert(place.0) && self.is_last(place, error.class()) => {
                    self.give_up(place, error.class());
                    gone.insert(place);
                }
                Err(_) => {}
            }
        }
        for (stream, event) in gone.into_iter().rev() {
            self.streams.0[stream].events.remove(event);
        }
    }

    /// Counts a failure. Returns true if the event is not tried again.
    fn is_last(&mut self, place: Place, class: FailureClass) -> bool {
        let waiting = self.streams.at_mut(place);
        match class {
            FailureClass::Permanent => true,
            FailureClass::Transient => {
                waiting.attempts += 1;
                waiting.attempts >= ATTEMPTS
            }
            FailureClass::Unavailable | FailureClass::Throttled => {
                waiting.refusals += 1;
                waiting.refusals >= ATTEMPTS
            }
            // It was offered for long already.
            FailureClass::NotTried => true,
        }
    }

    fn give_up(&mut self, place: Place, class: FailureClass) {
        let event_type = &self.streams.at(place).event.event_type;
        let stream = &self.streams.0[place.0];
        let failure = format!(
            "{} of {event_type} ({})",
            stream.handler.name,
            class.as_str()
        );
        *self.failures.entry(failure).or_default() += 1;
        self.streams.0[place.0].is_parked = true;
    }
}

fn end_of(answers: &[Result<(), PublishError>], calls: &Calls) -> End {
    let mut errors = answers.iter().filter_map(|answer| answer.as_ref().err());
    match errors.next() {
        Some(error) => End::Failed(format!("{} ({})", error.chain(), error.class().as_str())),
        None if calls.has_failed => End::Skipped,
        None if calls.keys.is_empty() => End::NotCalled,
        None => End::Handled,
    }
}
