//! The tables, indexes and the view on SQLite.

use crate::columns::{self, Kind};
use crate::dialect::indexes;
use crate::dialect::view::{NoValue, status_view as status_view_of};
use crate::tables::Tables;

/// The statements that create everything, in order. Each can be repeated, and makes what is
/// missing.
pub(super) fn create(tables: &Tables) -> Vec<String> {
    let mut statements = vec![
        outbox(tables),
        held(tables),
        dead_letter(tables),
        discarded_letter(tables),
        published(tables),
        of_one_side(tables),
    ];
    statements.extend(side_indexes(tables));
    statements.extend(relay_tables(tables));
    statements.push(format!("DROP VIEW IF EXISTS {}", tables.status()));
    statements.push(status_view(tables));
    statements.extend(raise_positions(tables));
    statements
}

/// An outbox that was dropped and made again goes on behind the positions that are in use.
fn raise_positions(tables: &Tables) -> [String; 2] {
    let outbox = tables.outbox();
    let used = [tables.held(), tables.dead_letter(), tables.published()]
        .map(|table| format!("coalesce((SELECT max(position) FROM {table}), 0)"))
        .join(", ");
    [
        format!(
            "INSERT INTO sqlite_sequence (name, seq) SELECT '{outbox}', 0 \
             WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = '{outbox}')"
        ),
        format!("UPDATE sqlite_sequence SET seq = max(seq, {used}) WHERE name = '{outbox}'"),
    ]
}

fn sql_type(kind: Kind) -> String {
    let name = match kind {
        Kind::Int | Kind::BigInt => "INTEGER",
        Kind::Uuid | Kind::Bytes => "BLOB",
        Kind::Text(_) | Kind::Time => "TEXT",
    };
    name.to_owned()
}

fn event_columns() -> String {
    columns::definitions(sql_type, "")
}

/// The event store. One transaction at a time writes, so positions are in the order of the commits.
pub(super) fn create_events(tables: &Tables) -> Vec<String> {
    let columns = columns::stored_definitions(sql_type, "");
    let mut statements = vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {} (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    {columns},
    UNIQUE (aggregate_type, aggregate_id, sequence)
)",
            tables.event()
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {} (
    aggregate_type TEXT NOT NULL,
    aggregate_id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id)
)",
            tables.event_stream()
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {} (
    aggregate_type TEXT NOT NULL,
    aggregate_id TEXT NOT NULL,
    fingerprint INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    event_id BLOB NOT NULL,
    taken_at TEXT NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, fingerprint)
)",
            tables.snapshot()
        ),
    ];
    statements.extend(
        indexes::of_events(tables, &[("event_type", "event_type, position")])
            .iter()
            .map(indexes::Index::create_if_missing),
    );
    statements
}

/// AUTOINCREMENT never hands out a position twice, not even after the rows above it are gone.
fn outbox(tables: &Tables) -> String {
    let event = event_columns();
    format!(
        "CREATE TABLE IF NOT EXISTS {} (
    shard INTEGER NOT NULL,
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    {event},
    UNIQUE (shard, position)
)",
        tables.outbox()
    )
}

fn held(tables: &Tables) -> String {
    let event = event_columns();
    format!(
        "CREATE TABLE IF NOT EXISTS {} (
    shard INTEGER NOT NULL,
    position INTEGER NOT NULL,
    route TEXT NOT NULL,
    {event},
    ordered BOOLEAN NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    retry_after TEXT,
    first_failed_at TEXT,
    unroutable_since TEXT,
    error_message TEXT,
    delivered TEXT,
    PRIMARY KEY (shard, route, position)
)",
        tables.held()
    )
}

fn dead_letter(tables: &Tables) -> String {
    let event = event_columns();
    format!(
        "CREATE TABLE IF NOT EXISTS {} (
    shard INTEGER NOT NULL,
    position INTEGER NOT NULL,
    route TEXT NOT NULL,
    {event},
    attempts INTEGER NOT NULL,
    error_message TEXT NOT NULL,
    cause TEXT NOT NULL,
    parks BOOLEAN NOT NULL,
    delivered TEXT,
    first_failed_at TEXT NOT NULL,
    failed_at TEXT NOT NULL,
    alert_after TEXT,
    alerted_at TEXT,
    raw TEXT,
    PRIMARY KEY (event_id, route)
)",
        tables.dead_letter()
    )
}

/// The record that is kept of a discarded dead letter, without its payload.
fn discarded_letter(tables: &Tables) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (
    event_id BLOB NOT NULL,
    route TEXT NOT NULL,
    event_type TEXT NOT NULL,
    aggregate_type TEXT NOT NULL,
    aggregate_id TEXT NOT NULL,
    tenant_id TEXT,
    cause TEXT NOT NULL,
    error_message TEXT NOT NULL,
    failed_at TEXT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT,
    discarded_at TEXT NOT NULL,
    PRIMARY KEY (discarded_at, event_id, route)
)",
        tables.discarded_letter()
    )
}

/// An event is published once, however many routes have got it.
fn published(tables: &Tables) -> String {
    let event = event_columns();
    format!(
        "CREATE TABLE IF NOT EXISTS {} (
    shard INTEGER NOT NULL,
    position INTEGER NOT NULL,
    {event},
    published_at TEXT NOT NULL,
    PRIMARY KEY (event_id)
)",
        tables.published()
    )
}

fn side_indexes(tables: &Tables) -> Vec<String> {
    let dead_letter = tables.dead_letter();
    let mut statements: Vec<_> = indexes::all(tables)
        .iter()
        .map(indexes::Index::create_if_missing)
        .collect();
    statements.push(format!(
        "CREATE INDEX IF NOT EXISTS {dead_letter}_alerted_at ON {dead_letter} (failed_at, \
         event_id) WHERE alerted_at IS NULL"
    ));
    statements
}

fn relay_tables(tables: &Tables) -> [String; 5] {
    let (shard, relay, meta, paused) = (
        tables.shard(),
        tables.relay(),
        tables.meta(),
        tables.paused_tenant(),
    );
    [
        format!(
            "CREATE TABLE IF NOT EXISTS {shard} (
    shard INTEGER NOT NULL PRIMARY KEY,
    owner BLOB,
    epoch INTEGER NOT NULL DEFAULT 0,
    expires_at TEXT,
    revision INTEGER NOT NULL DEFAULT 0
)"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {relay} (id BLOB NOT NULL PRIMARY KEY, lanes TEXT, \
             handlers TEXT, expires_at TEXT NOT NULL)"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {meta} (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    shards INTEGER NOT NULL,
    lanes INTEGER NOT NULL,
    hash TEXT NOT NULL,
    application TEXT,
    prune_after TEXT,
    publishes BOOLEAN NOT NULL DEFAULT FALSE
)"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {paused} (
    tenant_id TEXT NOT NULL PRIMARY KEY,
    reason TEXT NOT NULL,
    actor TEXT,
    paused_at TEXT NOT NULL
)"
        ),
        handler(tables),
    ]
}

/// The table that only one direction has.
fn of_one_side(tables: &Tables) -> String {
    if tables.is_inbox() {
        source(tables)
    } else {
        handled_event(tables)
    }
}

/// The sources of messages, with their leases and the places up to which they are stored.
fn source(tables: &Tables) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (
    name TEXT NOT NULL PRIMARY KEY,
    owner BLOB,
    epoch INTEGER NOT NULL DEFAULT 0,
    expires_at TEXT,
    incarnation TEXT,
    place TEXT,
    stored_at TEXT
)",
        tables.source()
    )
}

/// The events that handlers have handled.
fn handled_event(tables: &Tables) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (
    handler TEXT NOT NULL,
    event_id BLOB NOT NULL,
    outcome TEXT NOT NULL,
    generation INTEGER NOT NULL DEFAULT 0,
    handled_at TEXT NOT NULL,
    PRIMARY KEY (handler, event_id)
)",
        tables.handled_event()
    )
}

/// The projections. The row of one is changed in place by each of its batches.
pub(super) fn create_projections(tables: &Tables) -> Vec<String> {
    let event = event_columns();
    let (projection, checkpoint) = (tables.projection(), tables.projection_checkpoint());
    let (effect, skip) = (tables.projection_effect(), tables.projection_skip());
    vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {projection} (
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    status TEXT NOT NULL,
    created_at TEXT NOT NULL,
    live_at TEXT,
    place TEXT,
    total INTEGER NOT NULL DEFAULT 0,
    built INTEGER NOT NULL DEFAULT 0,
    build_seconds REAL NOT NULL DEFAULT 0,
    builder BLOB,
    builder_expires_at TEXT,
    failures INTEGER NOT NULL DEFAULT 0,
    failed_event BLOB,
    failed_at TEXT,
    reason TEXT,
    stopped_at TEXT,
    skips BOOLEAN NOT NULL DEFAULT FALSE,
    releases BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (name, version)
)"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {checkpoint} (
    projection TEXT NOT NULL,
    version INTEGER NOT NULL,
    aggregate_type TEXT NOT NULL,
    aggregate_id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (projection, version, aggregate_type, aggregate_id)
)"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {effect} (
    projection TEXT NOT NULL,
    version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    {event},
    PRIMARY KEY (projection, version, position)
)"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {skip} (
    projection TEXT NOT NULL,
    version INTEGER NOT NULL,
    event_id BLOB NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT,
    skipped_at TEXT NOT NULL,
    PRIMARY KEY (projection, version, event_id)
)"
        ),
    ]
}

/// The handlers of every process.
fn handler(tables: &Tables) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (
    name TEXT NOT NULL PRIMARY KEY,
    takes TEXT NOT NULL,
    ordered INTEGER NOT NULL,
    starts_after INTEGER NOT NULL,
    starts_at TEXT,
    recorded_at TEXT NOT NULL,
    paused_at TEXT,
    pause_reason TEXT,
    pause_actor TEXT
)",
        tables.handler()
    )
}

fn status_view(tables: &Tables) -> String {
    let as_json = |column: &str| {
        let text = format!("CAST({column} AS TEXT)");
        format!("CASE WHEN json_valid({text}) THEN {text} END")
    };
    let columns = columns::in_status(
        |id| {
            let part = |from_to| format!("substr(hex({id}), {from_to})");
            let parts = ["1, 8", "9, 4", "13, 4", "17, 4", "21"].map(part);
            format!("lower({})", parts.join(" || '-' || "))
        },
        as_json,
    );
    status_view_of(
        tables,
        &columns,
        &NoValue {
            text: "NULL",
            number: "0",
            time: "NULL",
        },
    )
}
