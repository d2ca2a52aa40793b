//! The tables, indexes and the view on PostgreSQL.

use crate::columns::{self, Kind};
use crate::dialect::indexes;
use crate::dialect::view::{NoValue, status_view as status_view_of};
use crate::tables::{Tables, bare};

/// The statements that create everything, in order. Each can be repeated, and makes what is
/// missing.
pub(super) fn create(tables: &Tables) -> Vec<String> {
    let mut statements = outbox(tables);
    statements.extend([
        held(tables),
        dead_letter(tables),
        discarded_letter(tables),
        published(tables),
        of_one_side(tables),
    ]);
    statements.extend(side_indexes(tables));
    statements.extend(relay_tables(tables));
    statements.extend(status_view(tables));
    let used_in = [
        tables.outbox(),
        tables.held(),
        tables.dead_letter(),
        tables.published(),
    ];
    statements.push(raise_positions(tables, &used_in));
    statements
}

/// A sequence that was dropped and made again goes on behind the positions that are in use; one
/// that is further on stays as it is.
fn raise_positions(tables: &Tables, used_in: &[&str]) -> String {
    let sequence = tables.positions();
    let used = used_in
        .iter()
        .map(|table| format!("(SELECT max(position) FROM {table})"));
    let used = used.collect::<Vec<_>>().join(", ");
    format!(
        "SELECT setval('{sequence}', used.position) FROM (SELECT greatest({used}) AS position) \
         used, {sequence} s WHERE used.position > s.last_value OR (used.position = s.last_value \
         AND NOT s.is_called)"
    )
}

/// The name of a column's type.
pub(super) fn sql_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "integer",
        Kind::BigInt => "bigint",
        Kind::Uuid => "uuid",
        Kind::Text(_) => "text",
        Kind::Bytes => "bytea",
        Kind::Time => "timestamptz",
    }
}

fn event_columns() -> String {
    columns::definitions(|kind| sql_type(kind).to_owned(), "")
}

/// The default of `position` needs the transaction's id before the next value: a reader may then
/// conclude that whoever took a position below one it has seen was running, and is found in its
/// snapshot, or has ended. A sequence with a cache would hand out positions out of order.
fn outbox(tables: &Tables) -> Vec<String> {
    let event = event_columns();
    let outbox = tables.outbox();
    let key = primary_key(outbox);
    let sequence = tables.positions();
    let next = next(&sequence);
    vec![
        format!("CREATE SEQUENCE IF NOT EXISTS {sequence} AS bigint CACHE 1"),
        format!(
            "CREATE TABLE IF NOT EXISTS {outbox} (
    shard integer NOT NULL,
    position bigint NOT NULL DEFAULT {next},
    {event},
    {key} (shard, position)
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_limit = 2000
)"
        ),
        format!("ALTER TABLE {outbox} ALTER COLUMN position SET DEFAULT {next}"),
        format!("ALTER SEQUENCE {sequence} OWNED BY {outbox}.position"),
        format!("ALTER TABLE {outbox} ALTER COLUMN payload SET STORAGE EXTERNAL"),
    ]
}

/// The next position, after the transaction has its id.
fn next(sequence: &str) -> String {
    format!("nextval(CASE WHEN pg_current_xact_id() IS NOT NULL THEN '{sequence}'::regclass END)")
}

/// The words before the columns of a primary key. The name of a constraint has no schema.
fn primary_key(table: &str) -> String {
    format!("CONSTRAINT {}_pkey PRIMARY KEY", bare(table))
}

fn held(tables: &Tables) -> String {
    let event = event_columns();
    let held = tables.held();
    format!(
        "CREATE TABLE IF NOT EXISTS {held} (
    shard integer NOT NULL,
    position bigint NOT NULL,
    route text NOT NULL,
    {event},
    ordered boolean NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    retry_after timestamptz,
    first_failed_at timestamptz,
    unroutable_since timestamptz,
    error_message text,
    delivered text,
    {} (shard, route, position)
)",
        primary_key(held)
    )
}

fn dead_letter(tables: &Tables) -> String {
    let event = event_columns();
    let dead_letter = tables.dead_letter();
    format!(
        "CREATE TABLE IF NOT EXISTS {dead_letter} (
    shard integer NOT NULL,
    position bigint NOT NULL,
    route text NOT NULL,
    {event},
    attempts integer NOT NULL,
    error_message text NOT NULL,
    cause text NOT NULL,
    parks boolean NOT NULL,
    delivered text,
    first_failed_at timestamptz NOT NULL,
    failed_at timestamptz NOT NULL,
    alert_after timestamptz,
    alerted_at timestamptz,
    raw text,
    {} (event_id, route)
)",
        primary_key(dead_letter)
    )
}

/// The record that is kept of a discarded dead letter, without its payload.
fn discarded_letter(tables: &Tables) -> String {
    let discarded = tables.discarded_letter();
    format!(
        "CREATE TABLE IF NOT EXISTS {discarded} (
    event_id uuid NOT NULL,
    route text NOT NULL,
    event_type text NOT NULL,
    aggregate_type text NOT NULL,
    aggregate_id text NOT NULL,
    tenant_id text,
    cause text NOT NULL,
    error_message text NOT NULL,
    failed_at timestamptz NOT NULL,
    reason text NOT NULL,
    actor text,
    discarded_at timestamptz NOT NULL,
    {} (discarded_at, event_id, route)
)",
        primary_key(discarded)
    )
}

/// An event is published once, however many routes have got it.
fn published(tables: &Tables) -> String {
    let event = event_columns();
    let published = tables.published();
    format!(
        "CREATE TABLE IF NOT EXISTS {published} (
    shard integer NOT NULL,
    position bigint NOT NULL,
    {event},
    published_at timestamptz NOT NULL,
    {} (event_id)
)",
        primary_key(published)
    )
}

fn side_indexes(tables: &Tables) -> Vec<String> {
    let dead_letter = tables.dead_letter();
    let mut statements: Vec<_> = tables_with_payload(tables)
        .map(|table| format!("ALTER TABLE {table} ALTER COLUMN payload SET STORAGE EXTERNAL"))
        .into();
    statements.extend(
        indexes::all(tables)
            .iter()
            .map(indexes::Index::create_if_missing),
    );
    statements.push(format!(
        "CREATE INDEX IF NOT EXISTS {}_alerted_at ON {dead_letter} (failed_at, event_id) WHERE \
         alerted_at IS NULL",
        bare(dead_letter)
    ));
    statements
}

fn tables_with_payload(tables: &Tables) -> [&str; 3] {
    [tables.held(), tables.dead_letter(), tables.published()]
}

/// A lease is updated often: room on its page keeps the update off the index.
fn relay_tables(tables: &Tables) -> Vec<String> {
    let (shard, relay, meta, paused) = (
        tables.shard(),
        tables.relay(),
        tables.meta(),
        tables.paused_tenant(),
    );
    vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {shard} (
    shard integer NOT NULL {},
    owner uuid,
    epoch bigint NOT NULL DEFAULT 0,
    expires_at timestamptz,
    revision bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 30, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)",
            primary_key(shard)
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {relay} (
    id uuid NOT NULL {},
    lanes text,
    handlers text,
    expires_at timestamptz NOT NULL
)",
            primary_key(relay)
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {meta} (
    id smallint NOT NULL {} CHECK (id = 1),
    shards integer NOT NULL,
    lanes integer NOT NULL,
    hash text NOT NULL,
    application text,
    prune_after timestamptz,
    publishes boolean NOT NULL DEFAULT false
)",
            primary_key(meta)
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {paused} (
    tenant_id text NOT NULL {},
    reason text NOT NULL,
    actor text,
    paused_at timestamptz NOT NULL
)",
            primary_key(paused)
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
    name text NOT NULL PRIMARY KEY,
    owner uuid,
    epoch bigint NOT NULL DEFAULT 0,
    expires_at timestamptz,
    incarnation text,
    place text,
    stored_at timestamptz
)",
        tables.source()
    )
}

/// The events that handlers have handled.
fn handled_event(tables: &Tables) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (
    handler text NOT NULL,
    event_id uuid NOT NULL,
    outcome text NOT NULL,
    generation integer NOT NULL DEFAULT 0,
    handled_at timestamptz NOT NULL,
    PRIMARY KEY (handler, event_id)
)",
        tables.handled_event()
    )
}

/// The handlers of every process.
fn handler(tables: &Tables) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (
    name text NOT NULL PRIMARY KEY,
    takes text NOT NULL,
    ordered boolean NOT NULL,
    starts_after bigint NOT NULL,
    starts_at timestamptz,
    recorded_at timestamptz NOT NULL,
    paused_at timestamptz,
    pause_reason text,
    pause_actor text
)",
        tables.handler()
    )
}

/// The event store. `transaction` tells a reader of all events which of them a snapshot of the
/// database shows; `position` orders those of one difference between two snapshots.
pub(super) fn create_events(tables: &Tables) -> Vec<String> {
    let columns = columns::stored_definitions(|kind| sql_type(kind).to_owned(), "");
    let (event, stream, snapshot) = (tables.event(), tables.event_stream(), tables.snapshot());
    let sequence = tables.positions();
    let next = next(&sequence);
    let mut statements = vec![
        format!("CREATE SEQUENCE IF NOT EXISTS {sequence} AS bigint CACHE 1"),
        format!(
            "CREATE TABLE IF NOT EXISTS {event} (
    position bigint NOT NULL DEFAULT {next},
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    {columns},
    {} (aggregate_type, aggregate_id, sequence)
)",
            primary_key(event)
        ),
        format!("ALTER TABLE {event} ALTER COLUMN position SET DEFAULT {next}"),
        format!("ALTER SEQUENCE {sequence} OWNED BY {event}.position"),
        format!(
            "CREATE TABLE IF NOT EXISTS {stream} (
    aggregate_type text NOT NULL,
    aggregate_id text NOT NULL,
    sequence bigint NOT NULL,
    {} (aggregate_type, aggregate_id)
) WITH (fillfactor = 70)",
            primary_key(stream)
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {snapshot} (
    aggregate_type text NOT NULL,
    aggregate_id text NOT NULL,
    fingerprint bigint NOT NULL,
    sequence bigint NOT NULL,
    event_id uuid NOT NULL,
    taken_at timestamptz NOT NULL,
    state bytea NOT NULL,
    {} (aggregate_type, aggregate_id, fingerprint)
)",
            primary_key(snapshot)
        ),
    ];
    let ordering = [
        ("event_type", "event_type, position"),
        ("position", "position"),
        ("transaction", "transaction"),
    ];
    statements.extend(
        indexes::of_events(tables, &ordering)
            .iter()
            .map(indexes::Index::create_if_missing),
    );
    statements.push(raise_positions(tables, &[event]));
    statements
}

/// The projections. The row of one is locked by each of its batches, and changed by them in place.
pub(super) fn create_projections(tables: &Tables) -> Vec<String> {
    let event = event_columns();
    let (projection, checkpoint) = (tables.projection(), tables.projection_checkpoint());
    let (effect, skip) = (tables.projection_effect(), tables.projection_skip());
    vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {projection} (
    name text NOT NULL,
    version integer NOT NULL,
    status text NOT NULL,
    created_at timestamptz NOT NULL,
    live_at timestamptz,
    place text,
    total bigint NOT NULL DEFAULT 0,
    built bigint NOT NULL DEFAULT 0,
    build_seconds double precision NOT NULL DEFAULT 0,
    builder uuid,
    builder_expires_at timestamptz,
    failures integer NOT NULL DEFAULT 0,
    failed_event uuid,
    failed_at timestamptz,
    reason text,
    stopped_at timestamptz,
    skips boolean NOT NULL DEFAULT FALSE,
    releases boolean NOT NULL DEFAULT FALSE,
    {} (name, version)
) WITH (fillfactor = 50)",
            primary_key(projection)
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {checkpoint} (
    projection text NOT NULL,
    version integer NOT NULL,
    aggregate_type text NOT NULL,
    aggregate_id text NOT NULL,
    sequence bigint NOT NULL,
    {} (projection, version, aggregate_type, aggregate_id)
) WITH (fillfactor = 70)",
            primary_key(checkpoint)
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {effect} (
    projection text NOT NULL,
    version integer NOT NULL,
    position bigint NOT NULL,
    shard integer NOT NULL,
    {event},
    {} (projection, version, position)
)",
            primary_key(effect)
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {skip} (
    projection text NOT NULL,
    version integer NOT NULL,
    event_id uuid NOT NULL,
    reason text NOT NULL,
    actor text,
    skipped_at timestamptz NOT NULL,
    {} (projection, version, event_id)
)",
            primary_key(skip)
        ),
    ]
}

/// The function answers NULL where a cast would fail the whole query.
fn status_view(tables: &Tables) -> Vec<String> {
    let as_json = tables.as_json();
    let columns = columns::in_status(
        |id| format!("{id}::text"),
        |bytes| format!("{as_json}({bytes})"),
    );
    let none = NoValue {
        text: "NULL::text",
        number: "0",
        time: "NULL::timestamptz",
    };
    vec![
        format!(
            "CREATE OR REPLACE FUNCTION {as_json}(bytes bytea) RETURNS json
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN convert_from(bytes, 'UTF8')::json;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$"
        ),
        status_view_of(tables, &columns, &none).replacen(
            "CREATE VIEW",
            "CREATE OR REPLACE VIEW",
            1,
        ),
    ]
}
