//! Log targets and metric names of raising and flushing: they are part of the public interface.
//!
//! Events of the journey are logged under these targets, with the fields `event_id`, `event_type`,
//! `aggregate_id`, `correlation_id` and `tenant_id` where they are known.

/// Log target of raising and collecting.
pub const TARGET_RAISE: &str = "bento::raise";
/// Log target of the flush and of the transaction around it.
pub const TARGET_FLUSH: &str = "bento::flush";

/// Counter: pending events that were dropped without being collected, by `event_type`.
pub const FORGOTTEN_EVENTS: &str = "bento_forgotten_events_total";
/// Counter: events written to the outbox by transactions that committed.
///
/// MySQL and MariaDB do not tell which rows of an INSERT existed already: an event whose chosen id
/// another transaction writes at the same moment counts here in both, although it is in the outbox
/// once.
pub const FLUSHED_EVENTS: &str = "bento_flushed_events_total";
/// Counter: events whose id was already known and which were therefore not written again.
pub const DUPLICATE_EVENTS: &str = "bento_duplicate_events_total";

/// Counts `amount` more under `name`. For the crates of Bento.
#[doc(hidden)]
pub fn count(name: &'static str, amount: u64) {
    metrics::counter!(name).increment(amount);
}

/// Counts `amount` more under `name`, labelled `label = value`. For the crates of Bento.
#[doc(hidden)]
pub fn count_by(name: &'static str, label: &'static str, value: &'static str, amount: u64) {
    if amount > 0 {
        metrics::counter!(name, label => value).increment(amount);
    }
}
