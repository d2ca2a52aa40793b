//! The pairs of event type and version in the event store, found without a look at every event.

/// The smallest event type and the next larger one of each; of each type the smallest version, and
/// the next larger one of each.
pub(super) const STORED: &str = "WITH RECURSIVE types (event_type) AS (\
    SELECT MIN(event_type) FROM {events} UNION ALL \
    SELECT (SELECT MIN(e.event_type) FROM {events} e WHERE e.event_type > types.event_type) \
    FROM types WHERE event_type IS NOT NULL), \
    versions (event_type, schema_version) AS (\
    SELECT event_type, (SELECT MIN(e.schema_version) FROM {events} e \
    WHERE e.event_type = types.event_type) FROM types WHERE event_type IS NOT NULL UNION ALL \
    SELECT event_type, (SELECT MIN(e.schema_version) FROM {events} e \
    WHERE e.event_type = versions.event_type AND e.schema_version > versions.schema_version) \
    FROM versions WHERE schema_version IS NOT NULL) \
    SELECT event_type, schema_version FROM versions WHERE schema_version IS NOT NULL";
