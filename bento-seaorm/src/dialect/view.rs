//! The view with one row per event.

use crate::tables::Tables;

/// The text of a column that a status does not have.
pub(super) struct NoValue {
    pub(super) text: &'static str,
    pub(super) number: &'static str,
    pub(super) time: &'static str,
}

/// The view with one row per event: an event that several routes have not got is shown with the
/// first of them, and as held as long as one of them is tried again. One that was published for
/// some is shown as published only when it is nowhere else.
pub(super) fn status_view(tables: &Tables, columns: &str, none: &NoValue) -> String {
    let (view, outbox, held, dead) = (
        tables.status(),
        tables.outbox(),
        tables.held(),
        tables.dead_letter(),
    );
    let published = tables.published();
    let NoValue { text, number, time } = none;
    format!(
        "CREATE VIEW {view} AS
SELECT 'pending' AS status, {columns}, {text} AS route, {number} AS attempts, \
    {time} AS retry_after, {text} AS error_message, {text} AS cause, {time} AS failed_at, \
    {time} AS published_at FROM {outbox}
UNION ALL
SELECT 'held' AS status, {columns}, route, attempts, \
    retry_after, error_message, {text} AS cause, {time} AS failed_at, \
    {time} AS published_at FROM {held} h
WHERE NOT EXISTS (SELECT 1 FROM {held} first \
    WHERE first.event_id = h.event_id AND first.route < h.route)
AND NOT EXISTS (SELECT 1 FROM {outbox} o WHERE o.event_id = h.event_id)
UNION ALL
SELECT 'dead' AS status, {columns}, route, attempts, \
    {time} AS retry_after, error_message, cause, failed_at, \
    {time} AS published_at FROM {dead} d
WHERE NOT EXISTS (SELECT 1 FROM {dead} first \
    WHERE first.event_id = d.event_id AND first.route < d.route)
AND NOT EXISTS (SELECT 1 FROM {held} h WHERE h.event_id = d.event_id)
AND NOT EXISTS (SELECT 1 FROM {outbox} o WHERE o.event_id = d.event_id)
UNION ALL
SELECT 'published' AS status, {columns}, {text} AS route, {number} AS attempts, \
    {time} AS retry_after, {text} AS error_message, {text} AS cause, {time} AS failed_at, \
    published_at FROM {published} p
WHERE NOT EXISTS (SELECT 1 FROM {dead} d WHERE d.event_id = p.event_id)
AND NOT EXISTS (SELECT 1 FROM {held} h WHERE h.event_id = p.event_id)
AND NOT EXISTS (SELECT 1 FROM {outbox} o WHERE o.event_id = p.event_id)"
    )
}
