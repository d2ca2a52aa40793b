//! Log targets, span and metric names of raising, flushing and storing: they are part of the public
//! interface.
//!
//! Events of the journey are logged under these targets, with the fields `event_id`, `event_type`,
//! `aggregate_id`, `correlation_id` and `tenant_id` where they are known.

/// Log target of raising and collecting.
pub const TARGET_RAISE: &str = "bento::raise";
/// Log target of the flush and of the transaction around it.
pub const TARGET_FLUSH: &str = "bento::flush";
/// Log target of the event store.
pub const TARGET_EVENTS: &str = "bento::events";

/// Span of a load of an event-sourced aggregate from a database, under the target of the event
/// store at level info. Without a subscriber it is not made.
///
/// Fields: `aggregate_type`, `aggregate_id`. With the answer: `events` (the number of events that
/// were applied), `sequence` (the number of the last one, 0 without an event), `snapshot` (the
/// number of the event whose snapshot the load began at, if it did); or `error`.
pub const SPAN_LOAD: &str = "bento.load";
/// Span of an append of the events of a save, with their way into the outbox, under the target of
/// the event store at level info. Without a subscriber it is not made.
///
/// Fields: `aggregate_type`, `aggregate_id`, `events` (their number), `sequence` (that of the last
/// one). With the answer: `outcome` (`appended`, `conflict`, `failed`) and `error`. A save that was
/// cancelled has no outcome. The transaction may be rolled back later.
pub const SPAN_APPEND: &str = "bento.append";

/// Counter: pending events that were dropped without being collected, by `event_type`.
pub const FORGOTTEN_EVENTS: &str = "bento_forgotten_events_total";
/// Counter: events written to the outbox by transactions that committed, integration events among
/// them.
///
/// MySQL and MariaDB do not tell which rows of an INSERT existed already: an event whose chosen id
/// another transaction writes at the same moment counts here in both, although it is in the outbox
/// once.
pub const FLUSHED_EVENTS: &str = "bento_flushed_events_total";
/// Counter: events whose id was already known and which were therefore not written again.
pub const DUPLICATE_EVENTS: &str = "bento_duplicate_events_total";

/// Counter: integration events marked `deprecated` that transactions wrote and committed, by
/// `event_type` and `version`.
pub const DEPRECATED_EVENTS: &str = "bento_deprecated_events_total";

/// Counter: event-sourced aggregates that were loaded, by `aggregate_type`.
pub const LOADS: &str = "bento_loads_total";
/// Counter: appends to the event store, by `aggregate_type`, also in transactions that are rolled
/// back.
pub const APPENDS: &str = "bento_appends_total";
/// Counter: appends that found another head than the aggregate was loaded with, by
/// `aggregate_type`.
pub const APPEND_CONFLICTS: &str = "bento_append_conflicts_total";
/// Counter: loads that began at a snapshot, by `aggregate_type`.
pub const SNAPSHOT_HITS: &str = "bento_snapshot_hits_total";
/// Counter: loads that found no snapshot of the aggregate's shape, by `aggregate_type`.
pub const SNAPSHOT_MISSES: &str = "bento_snapshot_misses_total";
/// Counter: snapshots that could not be read, or whose event is not stored, by `aggregate_type`.
pub const STALE_SNAPSHOTS: &str = "bento_stale_snapshots_total";
/// Counter: snapshots that were written, by `aggregate_type`, also in transactions that are rolled
/// back.
pub const KEPT_SNAPSHOTS: &str = "bento_kept_snapshots_total";
/// Counter: snapshots that could not be written, by `aggregate_type`.
pub const FAILED_SNAPSHOTS: &str = "bento_failed_snapshots_total";

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
