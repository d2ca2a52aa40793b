//! What the relay tells about its work: a log line and a count for each outcome.

use std::ops::AddAssign;

use tracing::Level;

use super::machine::{Observer, Outcome};
use crate::envelope::Envelope;
use crate::publish::{Delivery, FailureClass};
use crate::telemetry::{self, TARGET_RELAY};

/// How many events came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Confirmed by the publisher.
    pub published: u64,
    /// Failed, and to be tried again.
    pub retried: u64,
    /// Given up: dead letters.
    pub dead: u64,
    /// Not sent, because an earlier event of the aggregate is held back or parked.
    pub held_back: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.published += other.published;
        self.retried += other.retried;
        self.dead += other.dead;
        self.held_back += other.held_back;
    }
}

/// Logs outcomes and counts them.
#[derive(Debug)]
pub(super) struct Journal<'a> {
    tally: &'a mut Tally,
    published: u64,
    tells_details: bool,
}

impl<'a> Journal<'a> {
    pub(super) fn new(tally: &'a mut Tally) -> Self {
        let tells_details = tracing::enabled!(target: TARGET_RELAY, Level::DEBUG);
        Self { tally, published: 0, tells_details }
    }
}

/// Writes an outcome with the fields of its event; the correlation id is read from the headers only if somebody listens.
macro_rules! tell {
    ($level:expr, $delivery:expr, { $($field:tt)* }, $message:literal) => {
        if tracing::enabled!(target: TARGET_RELAY, $level) {
            let event = &*$delivery.envelope;
            let correlation_id = correlation_id(event);
            tracing::event!(
                target: TARGET_RELAY,
                $level,
                event_id = %event.event_id,
                event_type = &*event.event_type,
                aggregate_type = &*event.aggregate_type,
                aggregate_id = event.aggregate_id,
                correlation_id = correlation_id.as_deref(),
                tenant_id = event.tenant_id.as_deref(),
                destination = &*$delivery.destination.name,
                $($field)*
                $message
            );
        }
    };
}

impl Observer for Journal<'_> {
    fn outcome(&mut self, delivery: &Delivery, outcome: Outcome<'_>) {
        match outcome {
            Outcome::Published => {
                self.published += 1;
                if self.tells_details {
                    tell!(Level::DEBUG, delivery, {}, "published");
                }
            }
            Outcome::Retry { attempts, after, class, error } => {
                self.tally.retried += 1;
                failed(class);
                tell!(Level::WARN, delivery, { attempts, retry_after = ?after, error, }, "publishing failed, will try again");
            }
            Outcome::Dead { attempts, cause, class, error } => {
                self.tally.dead += 1;
                failed(class);
                telemetry::count(telemetry::DEAD_EVENTS, 1);
                tell!(Level::ERROR, delivery, { attempts, cause, error, }, "publishing failed for good, the event is a dead letter");
            }
            Outcome::HeldBack => {
                self.tally.held_back += 1;
                tell!(Level::DEBUG, delivery, {}, "held back behind an earlier event of its aggregate");
            }
        }
    }
}

impl Drop for Journal<'_> {
    fn drop(&mut self) {
        if self.published > 0 {
            self.tally.published += self.published;
            telemetry::count(telemetry::PUBLISHED_EVENTS, self.published);
        }
    }
}

fn failed(class: FailureClass) {
    telemetry::count_by(telemetry::FAILED_PUBLISHES, "class", class.as_str(), 1);
}

fn correlation_id(event: &Envelope) -> Option<String> {
    event.headers().ok()?.correlation_id
}
