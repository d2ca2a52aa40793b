//! Every log target and metric name, in one place: they are part of the public interface.
//!
//! Events of the journey are logged under these targets, with the fields `event_id`, `event_type`, `aggregate_id`,
//! `correlation_id` and `tenant_id` where they are known.

/// Log target of raising and collecting.
pub const TARGET_RAISE: &str = "bento::raise";
/// Log target of the flush and of the transaction around it.
pub const TARGET_FLUSH: &str = "bento::flush";
/// Log target of the relay: start, stop, takeover, published, retry, dead letter.
pub const TARGET_RELAY: &str = "bento::relay";

/// Counter: pending events that were dropped without being collected, by `schema`.
pub const FORGOTTEN_EVENTS: &str = "bento_forgotten_events_total";
/// Counter: events written to the outbox by transactions that committed.
///
/// MySQL and MariaDB do not tell which rows of an INSERT were there: an event whose chosen id another transaction writes at the
/// same moment counts here in both, although it is in the outbox once.
pub const FLUSHED_EVENTS: &str = "bento_flushed_events_total";
/// Counter: events whose id was already known and which were therefore not written again.
pub const DUPLICATE_EVENTS: &str = "bento_duplicate_events_total";
/// Counter: events a broker confirmed.
pub const PUBLISHED_EVENTS: &str = "bento_published_events_total";
/// Counter: attempts to publish that failed, by `class`.
pub const FAILED_PUBLISHES: &str = "bento_failed_publishes_total";
/// Counter: events given up and kept as dead letters.
pub const DEAD_EVENTS: &str = "bento_dead_events_total";
/// Counter: leases by `change`: `claimed`, `released`, `lost`.
pub const LEASE_CHANGES: &str = "bento_lease_changes_total";

/// Counts `amount` more under `name`. For the crates of Bento.
#[doc(hidden)]
pub fn count(name: &'static str, amount: u64) {
    metrics::counter!(name).increment(amount);
}

/// Counts `amount` more under `name`, labelled `label = value`.
pub(crate) fn count_by(name: &'static str, label: &'static str, value: &'static str, amount: u64) {
    if amount > 0 {
        metrics::counter!(name, label => value).increment(amount);
    }
}
