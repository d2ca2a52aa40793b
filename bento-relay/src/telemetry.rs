//! Every log target, span and metric name, in one place: they are part of the public interface.
//!
//! Events of the journey are logged under these targets, with the fields `event_id`, `event_type`,
//! `aggregate_id`, `correlation_id` and `tenant_id` where they are known.

use metrics::{Histogram, SharedString};

pub use bento_core::telemetry::*;

/// Log target of the relay: start, stop, takeover, published, retry, dead letter.
pub const TARGET_RELAY: &str = "bento::relay";
/// Log target of alerts about dead letters.
pub const TARGET_DEAD_LETTER: &str = "bento::dead_letter";
/// Log target of the monitor: lanes that no relay serves.
pub const TARGET_INSPECT: &str = "bento::inspect";
/// Log target of publishers in spans: batches and their failures.
pub const TARGET_PUBLISH: &str = "bento::publish";
/// Span of one event on its way to one destination, under the target of the relay at level info.
/// Without a subscriber it is not made.
///
/// Fields, by OpenTelemetry's conventions for messaging if these have a name: `messaging.system`
/// (the publisher's name), `messaging.destination.name` (the topic), `messaging.message.id` (the
/// event's id), `messaging.operation.type`, `event_type`, `tenant_id`, `destination`, `attempts`
/// (the number of earlier attempts), `traceparent` (the context in which the event was raised).
/// With the answer: `outcome` (`published`, `failed`), `error.type` (the class of the failure) and
/// `error`. An event with a late answer has no outcome.
pub const SPAN_PUBLISH: &str = "bento.publish";

/// Counter: confirmations of events, by `destination`.
pub const PUBLISHED_EVENTS: &str = "bento_published_events_total";
/// Counter: failures to publish, by `destination` and `class`: `transient`, `permanent`,
/// `throttled`, `unavailable`, `not_tried`.
pub const FAILED_PUBLISHES: &str = "bento_failed_publishes_total";
/// Counter: outcomes of the events of a tenant, by `tenant` and `status`: `published`, `retried`,
/// `fallen_back`, `dead`, `held`, `delayed`, `late`, `filtered`, `unroutable`; an event counts once
/// for each of its routes and each time. The first 50 tenants of a process have a label of their
/// own, the others share `other`; events without a tenant are not counted here.
pub const TENANT_EVENTS: &str = "bento_tenant_events_total";
/// Counter: events that failed and are tried again, by `route`.
pub const RETRIED_EVENTS: &str = "bento_retried_events_total";
/// Counter: events that became dead letters, by `route` and `cause`.
pub const DEAD_EVENTS: &str = "bento_dead_events_total";
/// Counter: events given up by their route and handed to its fallback, by `route`.
pub const FALLEN_BACK_EVENTS: &str = "bento_fallen_back_events_total";
/// Counter: events that were not sent in their turn, by `route`: an earlier event of their
/// aggregate is held, their destination is unavailable, or their tenant is paused.
pub const HELD_BACK_EVENTS: &str = "bento_held_back_events_total";
/// Counter: events that are held until their delivery time, by `route`.
pub const DELAYED_EVENTS: &str = "bento_delayed_events_total";
/// Counter: calls of a publisher that were late, by `destination`. Their events are held, and
/// settled when the answer comes.
pub const LATE_WAVES: &str = "bento_late_waves_total";
/// Counter: events that are held because the relay has no rule or destination for them, by `route`:
/// the unknown name, or `unroutable`. Each counts once, by the first relay.
pub const UNROUTABLE_EVENTS: &str = "bento_unroutable_events_total";
/// Counter: events that every matching rule left out of its sample, and domain events where every
/// rule is for integration events.
pub const FILTERED_EVENTS: &str = "bento_filtered_events_total";
/// Histogram: seconds that a publisher took for a batch, by `destination`.
pub const PUBLISH_SECONDS: &str = "bento_publish_seconds";
/// Histogram: seconds from the moment an event occurred to its confirmation, by `destination`.
pub const END_TO_END_SECONDS: &str = "bento_end_to_end_seconds";
/// Counter: changes of the circuit breaker of a `destination`, by `change`: `opened`, `half_open`,
/// `closed`.
pub const CIRCUIT_CHANGES: &str = "bento_circuit_changes_total";
/// Gauge: 1 while the circuit of a `destination` is open or half open, 0 once it is closed again.
pub const CIRCUIT_OPEN: &str = "bento_circuit_open";
/// Counter: published rows that were kept and removed at the end of their retention.
pub const PRUNED_EVENTS: &str = "bento_pruned_events_total";
/// Counter: leases by `change`: `claimed`, `released`, `lost`.
pub const LEASE_CHANGES: &str = "bento_lease_changes_total";
/// Counter: dead letters that an alert hook reported.
pub const ALERTED_EVENTS: &str = "bento_alerted_events_total";
/// Counter: alerts that failed, each for one or several dead letters.
pub const FAILED_ALERTS: &str = "bento_failed_alerts_total";
/// Gauge: events by `tenant`, `route` and `status` (`pending`, `held`, `dead`), set by the monitor.
/// An event that is pending has no route yet; an event without a tenant has an empty one, and
/// tenants beyond the first 50 are `other`.
pub const BACKLOG: &str = "bento_backlog";
/// Gauge: the age in seconds of the oldest event that is still to be delivered, by `tenant` and
/// `route`.
pub const OLDEST_PENDING: &str = "bento_oldest_pending_seconds";
/// Gauge: shards by `state` of their lease: `held`, `expired`, `free`.
pub const LEASES: &str = "bento_leases";
/// Gauge: relays that are alive.
pub const RELAYS: &str = "bento_relays";
/// Gauge: lanes that no relay serves.
pub const UNSERVED_LANES: &str = "bento_unserved_lanes";
/// Counter: notifications that were sent to wake relays in other processes.
pub const SENT_WAKES: &str = "bento_sent_wakes_total";
/// Counter: notifications of other processes that woke the relays of this one.
pub const RECEIVED_WAKES: &str = "bento_received_wakes_total";

/// The label for a route.
pub(crate) const ROUTE: &str = "route";
/// The label for a destination.
pub(crate) const DESTINATION: &str = "destination";

/// Counts `amount` more under `name`, labelled with a route or a destination.
pub(crate) fn count_of(
    name: &'static str,
    label: &'static str,
    value: impl Into<SharedString>,
    amount: u64,
) {
    if amount > 0 {
        metrics::counter!(name, label => value.into()).increment(amount);
    }
}

/// Counts `amount` more under `name`, labelled with a route or a destination, and with a second
/// label.
pub(crate) fn count_of_kind(
    name: &'static str,
    label: &'static str,
    value: impl Into<SharedString>,
    (kind_label, kind): (&'static str, &'static str),
    amount: u64,
) {
    if amount > 0 {
        metrics::counter!(name, label => value.into(), kind_label => kind).increment(amount);
    }
}

/// Sets `name` for one destination.
pub(crate) fn set_of(name: &'static str, destination: impl Into<SharedString>, value: f64) {
    metrics::gauge!(name, DESTINATION => destination.into()).set(value);
}

/// Returns the histogram `name` of one destination.
pub(crate) fn histogram_of(name: &'static str, destination: impl Into<SharedString>) -> Histogram {
    metrics::histogram!(name, DESTINATION => destination.into())
}
