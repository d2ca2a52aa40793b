//! What a relay decides about one shard, without I/O, clock or task: it can be simulated.
//!
//! The machine takes what [`RelayStore::advance`](super::store::RelayStore::advance) returned, hands out waves of deliveries, takes
//! the answers to them, and yields settlements for the next call. Its rules, each a test:
//!
//! 1. A wave holds at most one event of a stream, and the next one of the stream only after that is confirmed; unless the publisher
//!    chains, then the batch is one wave.
//! 2. After a failure nothing later of the stream is sent: fresh followers are held back, held ones stay where they are.
//! 3. A fresh row of a stream that is held or parked is held back unsent, unless all that is held of the stream is in the same batch:
//!    then it comes after that.
//! 4. A permanent failure, or the last attempt that the policy allows, is a dead letter; it parks its stream.
//! 5. Events without order neither hold back nor park anything.
//! 6. Every row that was answered is settled exactly once; what was not answered is not settled.
//!
//! Waits are durations from now by the store's clock, so the machine needs no time at all.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use self::batch::{Batch, Item, Place};
use self::streams::Streams;
use super::store::{Advanced, Burial, Failure, Held, Settlement};
use crate::publish::{Delivery, Destination, FailureClass, PublishError};
use crate::retry::RetryPolicy;

mod batch;
mod streams;
#[cfg(test)]
mod tests;

/// The decisions about one shard, from one `advance` to the next.
#[derive(Debug)]
pub struct Machine {
    retry: RetryPolicy,
    chains: bool,
    random: fastrand::Rng,
    destination: Destination,
    blocked: Streams,
    revision: Option<i64>,
    batch: Batch,
    settled: Vec<Settlement>,
}

/// What became of one delivery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome<'a> {
    /// The broker confirmed it.
    Published,
    /// It failed and is tried again.
    Retry {
        /// How often it was tried.
        attempts: u32,
        /// How long it waits.
        after: Duration,
        /// What the failure means.
        class: FailureClass,
        /// Why it failed.
        error: &'a str,
    },
    /// It failed and is given up.
    Dead {
        /// How often it was tried.
        attempts: u32,
        /// Why nobody tries again.
        cause: &'static str,
        /// What the failure means.
        class: FailureClass,
        /// Why it failed.
        error: &'a str,
    },
    /// It was not sent, because an earlier event of its stream is held back or parked.
    HeldBack,
}

/// Told of each outcome, as it is decided.
pub trait Observer {
    /// `delivery` came out as `outcome`.
    fn outcome(&mut self, delivery: &Delivery, outcome: Outcome<'_>);
}

impl<F: FnMut(&Delivery, Outcome<'_>)> Observer for F {
    fn outcome(&mut self, delivery: &Delivery, outcome: Outcome<'_>) {
        self(delivery, outcome);
    }
}

/// The longest error text that is recorded, in bytes.
const ERROR_LIMIT: usize = 4096;

impl Machine {
    /// A machine that knows nothing of its shard yet. `chains` is the publisher's answer to
    /// [`chains`](crate::publish::Publisher::chains); `seed` decides the jitter of the retries.
    pub fn new(retry: RetryPolicy, chains: bool, seed: u64) -> Self {
        Self {
            retry,
            chains,
            random: fastrand::Rng::with_seed(seed),
            destination: Destination::new(Destination::DEFAULT),
            blocked: Streams::default(),
            revision: None,
            batch: Batch::default(),
            settled: Vec::new(),
        }
    }

    /// What to ask the store with: the revision of the held rows that the machine knows.
    pub fn revision(&self) -> Option<i64> {
        self.revision
    }

    /// Takes the next batch. `held_limit` is how many held rows were asked for.
    ///
    /// What is left of an earlier batch is forgotten.
    pub fn take(&mut self, advanced: Advanced, held_limit: usize, observer: &mut impl Observer) {
        self.batch.clear();
        self.revision = Some(advanced.revision);
        if let Some(streams) = advanced.streams {
            self.blocked = Streams::from_iter(streams);
        }
        let all_held_are_here = advanced.held.len() < held_limit;
        for held in advanced.held {
            let destination = Destination::new(held.destination);
            let delivery = Delivery { attempts: held.attempts, ..Delivery::new(held.row.envelope, destination) };
            self.batch.push(Place::Held(held.row.position), delivery);
        }
        for row in advanced.fresh {
            let delivery = Delivery::new(row.envelope, self.destination.clone());
            if self.may_follow(&delivery, all_held_are_here) {
                self.batch.push(Place::Fresh(row.position), delivery);
            } else {
                self.hold_back(row.position, &delivery, observer);
            }
        }
    }

    /// The next deliveries to publish together; `None` when nothing of the batch may be sent any more.
    pub fn next_wave(&mut self) -> Option<&[Delivery]> {
        self.batch.next_wave(self.chains)
    }

    /// Takes the answers to the wave, in its order. A missing one counts as a transient failure.
    pub fn answer(&mut self, answers: Vec<Result<(), PublishError>>, observer: &mut impl Observer) {
        let mut answers = answers.into_iter();
        for index in self.batch.take_wave() {
            let answer = answers.next().unwrap_or_else(|| Err(PublishError::transient(TOO_FEW_ANSWERS)));
            if self.batch.item(index).is_cut {
                continue;
            }
            match answer {
                Ok(()) => self.published(index, observer),
                Err(error) => {
                    self.failed(index, &error, observer);
                    self.cut_followers(index, observer);
                }
            }
        }
    }

    /// What to record of the answers so far, each of it once.
    pub fn take_settlements(&mut self) -> Vec<Settlement> {
        let settled = std::mem::take(&mut self.settled);
        if !settled.iter().all(|settlement| matches!(settlement, Settlement::Published { .. })) {
            self.revision = None;
        }
        settled
    }

    /// Forgets what was not answered: it is still in the store and comes again.
    pub fn abandon(&mut self) {
        self.batch.clear();
    }

    /// Whether a fresh row may be sent after what is in the batch already.
    fn may_follow(&self, delivery: &Delivery, all_held_are_here: bool) -> bool {
        // Every held row's stream waits, so without one there is nothing to follow.
        if self.blocked.is_empty() || !delivery.envelope.is_ordered() {
            return true;
        }
        match self.batch.last_of(delivery) {
            Some(Item { place: Place::Fresh(_), .. }) => true,
            Some(Item { place: Place::Held(_), .. }) => all_held_are_here,
            None => !self.blocked.contains(delivery),
        }
    }

    fn published(&mut self, index: usize, observer: &mut impl Observer) {
        let Item { place, delivery, .. } = self.batch.item(index);
        observer.outcome(delivery, Outcome::Published);
        self.settled.push(match *place {
            Place::Fresh(position) => Settlement::Published { position },
            Place::Held(position) => {
                Settlement::HeldPublished { position, destination: Arc::clone(&delivery.destination.name) }
            }
        });
        self.batch.confirm(index);
    }

    fn failed(&mut self, index: usize, error: &PublishError, observer: &mut impl Observer) {
        let Item { place, delivery, .. } = self.batch.item(index);
        let (place, delivery) = (*place, delivery.clone());
        let class = error.class();
        let text = bounded(error.chain());
        // A broker that asks for less says nothing about the event, so this is no attempt at it.
        let attempts = delivery.attempts.saturating_add(u32::from(class != FailureClass::Throttled));
        match self.verdict(class, attempts) {
            Some(cause) => {
                observer.outcome(&delivery, Outcome::Dead { attempts, cause, class, error: &text });
                let parks = delivery.envelope.is_ordered();
                self.bury(
                    place,
                    &delivery,
                    Burial { attempts, error: text, cause: Cow::Borrowed(cause), parks, delivered: Vec::new() },
                );
            }
            None => {
                let drawn = self.retry.wait(attempts.max(1), &mut self.random);
                let after = error.retry_after().map_or(drawn, |asked| asked.max(drawn));
                observer.outcome(&delivery, Outcome::Retry { attempts, after, class, error: &text });
                self.hold(
                    place,
                    &delivery,
                    Failure { attempts, retry_after: after, error: text, delivered: Vec::new() },
                );
            }
        }
    }

    /// The cause of giving up, if so.
    fn verdict(&self, class: FailureClass, attempts: u32) -> Option<&'static str> {
        match class {
            FailureClass::Permanent => Some(Burial::PERMANENT),
            FailureClass::Transient if self.retry.is_exhausted(attempts) => Some(Burial::MAX_ATTEMPTS),
            FailureClass::Transient | FailureClass::Throttled => None,
        }
    }

    fn hold(&mut self, place: Place, delivery: &Delivery, failure: Failure) {
        let destination = Arc::clone(&delivery.destination.name);
        self.settled.push(match place {
            Place::Fresh(position) => Settlement::Hold {
                position,
                destination,
                ordered: delivery.envelope.is_ordered(),
                why: Held::Failed(failure),
            },
            Place::Held(position) => Settlement::HeldFailed { position, destination, failure },
        });
    }

    fn bury(&mut self, place: Place, delivery: &Delivery, dead: Burial) {
        let destination = Arc::clone(&delivery.destination.name);
        self.settled.push(match place {
            Place::Fresh(position) => Settlement::Bury { position, destination, dead },
            Place::Held(position) => Settlement::HeldBury { position, destination, dead },
        });
    }

    fn hold_back(&mut self, position: i64, delivery: &Delivery, observer: &mut impl Observer) {
        observer.outcome(delivery, Outcome::HeldBack);
        let destination = Arc::clone(&delivery.destination.name);
        let ordered = delivery.envelope.is_ordered();
        self.settled.push(Settlement::Hold { position, destination, ordered, why: Held::Behind });
    }

    /// Keeps everything behind a failed row from being sent, and holds back what is fresh of it.
    fn cut_followers(&mut self, failed: usize, observer: &mut impl Observer) {
        let mut next = self.batch.item(failed).next;
        while let Some(index) = next {
            let item = self.batch.item(index);
            item.is_cut = true;
            next = item.next;
            if let Place::Fresh(position) = item.place {
                let delivery = item.delivery.clone();
                self.hold_back(position, &delivery, observer);
            }
        }
    }
}

const TOO_FEW_ANSWERS: &str = "the publisher answered for fewer events than it was given";

fn bounded(mut error: String) -> String {
    if error.len() > ERROR_LIMIT {
        error.truncate(error.floor_char_boundary(ERROR_LIMIT));
    }
    error
}
