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
        handled_event(tables),
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

fn event_columns() -> String {
    let sql_type = |kind| match kind {
        Kind::Int | Kind::BigInt => "INTEGER",
        Kind::Uuid | Kind::Bytes => "BLOB",
        Kind::Text(_) | Kind::Time => "TEXT",
    };
    columns::definitions(|kind| sql_type(kind).to_owned(), "")
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
    prune_after TEXT
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

/// The events that handlers have handled.
fn handled_event(tables: &Tables) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (
    handler TEXT NOT NULL,
    event_id BLOB NOT NULL,
    outcome TEXT NOT NULL,
    handled_at TEXT NOT NULL,
    PRIMARY KEY (handler, event_id)
)",
        tables.handled_event()
    )
}

/// The handlers of every process.
fn handler(tables: &Tables) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (
    name TEXT NOT NULL PRIMARY KEY,
    takes TEXT NOT NULL,
    ordered INTEGER NOT NULL,
    starts_after INTEGER NOT NULL,
    recorded_at TEXT NOT NULL
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
