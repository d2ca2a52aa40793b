//! The logs and counts of a relay's outcomes: a line and a count for each.

use std::ops::AddAssign;

use crate::telemetry::{self, ROUTE, TARGET_RELAY, count_of, count_of_kind};
use bento_core::envelope::Envelope;
use chrono::{DateTime, Utc};
use metrics::Histogram;
use tracing::Level;

use self::tenants::Tenants;
use super::clock::since;
use crate::machine::{Decision, Observer};
use crate::store::DeadRow;

mod tenants;

/// The numbers of events by outcome; an event counts once for each of its routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// The publisher confirmed the event.
    pub published: u64,
    /// The event failed and will be tried again.
    pub retried: u64,
    /// The event failed for good and went to the fallback of its route.
    pub fallen_back: u64,
    /// The event became a dead letter.
    pub dead: u64,
    /// The event was not sent: an earlier event of the aggregate is held or parked, the destination
    /// is unavailable, or the tenant is paused.
    pub held_back: u64,
    /// The event is held until its delivery time.
    pub delayed: u64,
    /// The event is held while it is being sent, because its destination is slow.
    pub late: u64,
    /// Every matching rule left the event out of its sample.
    pub filtered: u64,
    /// The event is held because this relay has no rule or destination for it; counted once, by the
    /// first relay.
    pub unroutable: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.published += other.published;
        self.retried += other.retried;
        self.fallen_back += other.fallen_back;
        self.dead += other.dead;
        self.held_back += other.held_back;
        self.delayed += other.delayed;
        self.late += other.late;
        self.filtered += other.filtered;
        self.unroutable += other.unroutable;
    }
}

/// Logs outcomes and counts them.
#[derive(Debug)]
pub(super) struct Journal<'a> {
    tally: &'a mut Tally,
    /// The histogram for the age of confirmed events, and the time now.
    ages: Option<(Histogram, DateTime<Utc>)>,
    filtered: u64,
    tenants: Tenants,
    tells_details: bool,
}

impl<'a> Journal<'a> {
    pub(super) fn new(tally: &'a mut Tally) -> Self {
        let tells_details = tracing::enabled!(target: TARGET_RELAY, Level::DEBUG);
        Self {
            tally,
            ages: None,
            filtered: 0,
            tenants: Tenants::default(),
            tells_details,
        }
    }

    /// Counts the dead letters that the store made by itself and has logged.
    pub(super) fn dead_rows(&mut self, rows: Vec<DeadRow>) {
        for DeadRow {
            route,
            cause,
            tenant_id,
        } in rows
        {
            self.tally.dead += 1;
            count_of_kind(telemetry::DEAD_EVENTS, ROUTE, route, ("cause", cause), 1);
            self.tenants.note(tenant_id.as_deref(), "dead");
        }
    }

    /// Adds the histogram for the age of events that are confirmed at `now`.
    pub(super) fn with_ages(mut self, ages: Histogram, now: DateTime<Utc>) -> Self {
        self.ages = Some((ages, now));
        self
    }
}

/// Writes a decision with the fields of its event; the correlation id is read from the headers only
/// if the level is enabled.
macro_rules! tell {
    ($level:expr, $event:expr, $route:expr, { $($field:tt)* }, $message:literal $(,)?) => {
        if tracing::enabled!(target: TARGET_RELAY, $level) {
            let event: &Envelope = $event;
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
                route = $route,
                $($field)*
                $message
            );
        }
    };
}

impl Observer for Journal<'_> {
    fn decided(&mut self, event: &Envelope, route: &str, decision: Decision<'_>) {
        let count = |name| count_of(name, ROUTE, route.to_owned(), 1);
        // An event that still has no route was counted when it was held first.
        if !matches!(decision, Decision::Unroutable { is_new: false, .. }) {
            self.tenants
                .note(event.tenant_id.as_deref(), decision.status());
        }
        match decision {
            Decision::Published => {
                self.tally.published += 1;
                if let Some((ages, now)) = &self.ages {
                    ages.record(since(event.occurred_at, *now).as_secs_f64());
                }
                if self.tells_details {
                    tell!(Level::DEBUG, event, route, {}, "published");
                }
            }
            Decision::Retry {
                attempts,
                after,
                class,
                error,
            } => {
                self.tally.retried += 1;
                count(telemetry::RETRIED_EVENTS);
                tell!(
                    Level::WARN,
                    event,
                    route,
                    { attempts, retry_after = ?after, class = class.as_str(), error, },
                    "publishing failed, will try again",
                );
            }
            Decision::FellBack {
                attempts,
                to,
                error,
            } => {
                self.tally.fallen_back += 1;
                count(telemetry::FALLEN_BACK_EVENTS);
                tell!(
                    Level::WARN,
                    event,
                    route,
                    { attempts, to, error, },
                    "publishing failed for good, the event goes to the fallback",
                );
            }
            Decision::Dead {
                attempts,
                cause,
                error,
            } => {
                self.tally.dead += 1;
                count_of_kind(
                    telemetry::DEAD_EVENTS,
                    ROUTE,
                    route.to_owned(),
                    ("cause", cause),
                    1,
                );
                tell!(
                    Level::ERROR,
                    event,
                    route,
                    { attempts, cause, error, },
                    "publishing failed for good, the event is a dead letter",
                );
            }
            Decision::HeldBack(reason) => {
                self.tally.held_back += 1;
                count(telemetry::HELD_BACK_EVENTS);
                tell!(Level::DEBUG, event, route, { reason = reason.as_str(), }, "held back");
            }
            Decision::Delayed { wait } => {
                self.tally.delayed += 1;
                count(telemetry::DELAYED_EVENTS);
                tell!(Level::DEBUG, event, route, { ?wait, }, "held until its delivery time");
            }
            Decision::Late => {
                self.tally.late += 1;
                tell!(
                    Level::DEBUG,
                    event,
                    route,
                    {},
                    "the destination is slow, the event is held until the answer comes"
                );
            }
            Decision::Unroutable {
                is_new: true,
                error,
            } => {
                self.tally.unroutable += 1;
                count(telemetry::UNROUTABLE_EVENTS);
                tell!(
                    Level::WARN,
                    event,
                    route,
                    { error, },
                    "no rule or destination for the event, it is held for another relay",
                );
            }
            Decision::Unroutable {
                is_new: false,
                error,
            } => {
                tell!(Level::DEBUG, event, route, { error, }, "still no rule or destination for \
                                                               the event");
            }
            Decision::Filtered => {
                self.filtered += 1;
                tell!(Level::DEBUG, event, route, {}, "sampled out");
            }
        }
    }
}

impl Drop for Journal<'_> {
    fn drop(&mut self) {
        if self.filtered > 0 {
            self.tally.filtered += self.filtered;
            telemetry::count(telemetry::FILTERED_EVENTS, self.filtered);
        }
    }
}

fn correlation_id(event: &Envelope) -> Option<String> {
    event.headers().ok()?.correlation_id
}
