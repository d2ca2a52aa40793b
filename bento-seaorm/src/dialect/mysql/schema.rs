//! The tables, indexes and the view on MySQL and MariaDB.

use bento_core::limits;

use crate::columns::{self, Kind};
use crate::dialect::indexes::{self, Index};
use crate::dialect::view::{NoValue, status_view as status_view_of};
use crate::tables::{Tables, bare};

/// The statements that create everything, in order. Each can be repeated, and makes what is
/// missing: DDL commits by itself here, so a migration that was interrupted must be able to run
/// again.
pub(super) fn create(tables: &Tables) -> Vec<String> {
    let mut statements = vec![
        outbox(tables),
        held(tables),
        dead_letter(tables),
        discarded_letter(tables),
        published(tables),
        of_one_side(tables),
    ];
    statements.extend(relay_tables(tables));
    let schema = tables.prefix().schema();
    statements.extend(
        every_index(tables)
            .iter()
            .map(|index| create_index(index, schema)),
    );
    statements.push(status_view(tables).replacen("CREATE VIEW", "CREATE OR REPLACE VIEW", 1));
    statements.push(raise_positions(tables));
    statements
}

/// An outbox that was dropped and made again goes on behind the positions that are in use: a row
/// that is rolled back has raised the counter, and never lowers it as ALTER TABLE could.
fn raise_positions(tables: &Tables) -> String {
    let outbox = tables.outbox();
    let used = [tables.held(), tables.dead_letter(), tables.published()]
        .map(|table| format!("COALESCE((SELECT MAX(position) FROM {table}), 0)"))
        .join(", ");
    format!(
        "START TRANSACTION; INSERT INTO {outbox} (shard, position, event_id, event_type, \
         schema_version, aggregate_type, aggregate_id, occurred_at, payload) SELECT -1, \
         used.position, UNHEX(REPLACE(UUID(), '-', '')), '', 0, '', '', UTC_TIMESTAMP(6), '' FROM \
         (SELECT GREATEST({used}) AS position) used WHERE used.position > 0 ON DUPLICATE KEY \
         UPDATE {outbox}.shard = {outbox}.shard; ROLLBACK"
    )
}

/// Text is compared byte by byte, so that `acme` and `acme ` are two tenants: `utf8mb4_bin` takes
/// spaces at the end for padding. Each server has a collation of its own for it, and reads the
/// comment that names it. A column's collation wins over that of the connection, which a parameter
/// has.
const TABLE_OPTIONS: &str = "ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE \
    /*M! utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */";

/// Lengths in characters. What is part of an index key has to fit into InnoDB's 3,072 bytes
/// together.
fn sql_type(kind: Kind) -> String {
    match kind {
        Kind::Int => "INT".to_owned(),
        Kind::BigInt => "BIGINT".to_owned(),
        Kind::Uuid => "BINARY(16)".to_owned(),
        Kind::Text(width) => format!("VARCHAR({width})"),
        Kind::Bytes => "LONGBLOB".to_owned(),
        Kind::Time => "DATETIME(6)".to_owned(),
    }
}

fn event_columns() -> String {
    columns::definitions(sql_type, " NULL")
}

/// The event store. A number that a transaction was given says nothing about the order of the
/// commits, so `event_log` has a row for each event, whose position is filled in once the event is
/// committed.
pub(super) fn create_events(tables: &Tables) -> Vec<String> {
    let columns = columns::stored_definitions(sql_type, " NULL");
    let (event, log) = (tables.event(), tables.event_log());
    let sequencer = tables.event_sequencer();
    let mut statements = vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {event} (
    {columns},
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
) {TABLE_OPTIONS}"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {} (
    aggregate_type VARCHAR(190) NOT NULL,
    aggregate_id VARCHAR(255) NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id)
) {TABLE_OPTIONS}",
            tables.event_stream()
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {} (
    aggregate_type VARCHAR(190) NOT NULL,
    aggregate_id VARCHAR(255) NOT NULL,
    fingerprint BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    event_id BINARY(16) NOT NULL,
    taken_at DATETIME(6) NOT NULL,
    state LONGBLOB NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, fingerprint)
) {TABLE_OPTIONS}",
            tables.snapshot()
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {log} (
    nth BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    aggregate_type VARCHAR(190) NOT NULL,
    aggregate_id VARCHAR(255) NOT NULL,
    sequence BIGINT NOT NULL,
    event_type VARCHAR({}) NOT NULL,
    position BIGINT NULL,
    UNIQUE KEY {log_name}_position (position),
    KEY {log_name}_event_type (event_type, position)
) {TABLE_OPTIONS}",
            limits::EVENT_TYPE,
            log_name = bare(log)
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {sequencer} (
    id SMALLINT NOT NULL PRIMARY KEY CHECK (id = 1),
    position BIGINT NOT NULL
) {TABLE_OPTIONS}"
        ),
        format!(
            "INSERT INTO {sequencer} (id, position) SELECT 1, COALESCE(MAX(position), 0) FROM \
             {log} ON DUPLICATE KEY UPDATE {sequencer}.id = {sequencer}.id"
        ),
    ];
    let schema = tables.prefix().schema();
    statements.extend(
        indexes::of_events(tables, &[])
            .iter()
            .map(|index| create_index(index, schema)),
    );
    statements
}

fn outbox(tables: &Tables) -> String {
    let event = event_columns();
    let outbox = tables.outbox();
    format!(
        "CREATE TABLE IF NOT EXISTS {outbox} (
    shard INT NOT NULL,
    position BIGINT NOT NULL AUTO_INCREMENT,
    {event},
    PRIMARY KEY (shard, position),
    UNIQUE KEY {}_position (position){}
) {TABLE_OPTIONS}",
        bare(outbox),
        keys(tables, outbox)
    )
}

fn held(tables: &Tables) -> String {
    let event = event_columns();
    let held = tables.held();
    format!(
        "CREATE TABLE IF NOT EXISTS {held} (
    shard INT NOT NULL,
    position BIGINT NOT NULL,
    route VARCHAR(190) NOT NULL,
    {event},
    ordered BOOLEAN NOT NULL,
    attempts INT NOT NULL DEFAULT 0,
    retry_after DATETIME(6) NULL,
    first_failed_at DATETIME(6) NULL,
    unroutable_since DATETIME(6) NULL,
    error_message LONGTEXT NULL,
    delivered LONGTEXT NULL,
    PRIMARY KEY (shard, route, position){}
) {TABLE_OPTIONS}",
        keys(tables, held)
    )
}

fn dead_letter(tables: &Tables) -> String {
    let event = event_columns();
    let dead_letter = tables.dead_letter();
    format!(
        "CREATE TABLE IF NOT EXISTS {dead_letter} (
    shard INT NOT NULL,
    position BIGINT NOT NULL,
    route VARCHAR(190) NOT NULL,
    {event},
    attempts INT NOT NULL,
    error_message LONGTEXT NOT NULL,
    cause VARCHAR(255) NOT NULL,
    parks BOOLEAN NOT NULL,
    delivered LONGTEXT NULL,
    first_failed_at DATETIME(6) NOT NULL,
    failed_at DATETIME(6) NOT NULL,
    alert_after DATETIME(6) NULL,
    alerted_at DATETIME(6) NULL,
    raw LONGTEXT NULL,
    PRIMARY KEY (event_id, route){}
) {TABLE_OPTIONS}",
        keys(tables, dead_letter)
    )
}

/// The record that is kept of a discarded dead letter, without its payload.
fn discarded_letter(tables: &Tables) -> String {
    let discarded = tables.discarded_letter();
    format!(
        "CREATE TABLE IF NOT EXISTS {discarded} (
    event_id BINARY(16) NOT NULL,
    route VARCHAR(190) NOT NULL,
    event_type VARCHAR(190) NOT NULL,
    aggregate_type VARCHAR(190) NOT NULL,
    aggregate_id VARCHAR(255) NOT NULL,
    tenant_id VARCHAR(190) NULL,
    cause VARCHAR(255) NOT NULL,
    error_message LONGTEXT NOT NULL,
    failed_at DATETIME(6) NOT NULL,
    reason LONGTEXT NOT NULL,
    actor LONGTEXT NULL,
    discarded_at DATETIME(6) NOT NULL,
    PRIMARY KEY (discarded_at, event_id, route){}
) {TABLE_OPTIONS}",
        keys(tables, discarded)
    )
}

/// An event is published once, however many routes have got it.
fn published(tables: &Tables) -> String {
    let event = event_columns();
    let published = tables.published();
    format!(
        "CREATE TABLE IF NOT EXISTS {published} (
    shard INT NOT NULL,
    position BIGINT NOT NULL,
    {event},
    published_at DATETIME(6) NOT NULL,
    PRIMARY KEY (event_id){}
) {TABLE_OPTIONS}",
        keys(tables, published)
    )
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
    shard INT NOT NULL PRIMARY KEY,
    owner BINARY(16) NULL,
    epoch BIGINT NOT NULL DEFAULT 0,
    expires_at DATETIME(6) NULL,
    revision BIGINT NOT NULL DEFAULT 0
) {TABLE_OPTIONS}"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {relay} (
    id BINARY(16) NOT NULL PRIMARY KEY,
    lanes TEXT NULL,
    handlers LONGTEXT NULL,
    expires_at DATETIME(6) NOT NULL
) {TABLE_OPTIONS}"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {meta} (
    id SMALLINT NOT NULL PRIMARY KEY,
    shards INT NOT NULL,
    lanes INT NOT NULL,
    hash VARCHAR(64) NOT NULL,
    application LONGTEXT NULL,
    prune_after DATETIME(6) NULL,
    publishes BOOLEAN NOT NULL DEFAULT FALSE
) {TABLE_OPTIONS}"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {paused} (
    tenant_id VARCHAR(190) NOT NULL PRIMARY KEY,
    reason LONGTEXT NOT NULL,
    actor LONGTEXT NULL,
    paused_at DATETIME(6) NOT NULL
) {TABLE_OPTIONS}"
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
    name VARCHAR(190) NOT NULL PRIMARY KEY,
    owner BINARY(16) NULL,
    epoch BIGINT NOT NULL DEFAULT 0,
    expires_at DATETIME(6) NULL,
    incarnation LONGTEXT NULL,
    place LONGTEXT NULL,
    stored_at DATETIME(6) NULL
) {TABLE_OPTIONS}",
        tables.source()
    )
}

/// The events that handlers have handled.
fn handled_event(tables: &Tables) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (
    handler VARCHAR(190) NOT NULL,
    event_id BINARY(16) NOT NULL,
    outcome VARCHAR(16) NOT NULL,
    generation INT NOT NULL DEFAULT 0,
    handled_at DATETIME(6) NOT NULL,
    PRIMARY KEY (handler, event_id)
) {TABLE_OPTIONS}",
        tables.handled_event()
    )
}

/// The projections. The row of one is locked by each of its batches, and changed by them in place.
pub(super) fn create_projections(tables: &Tables) -> Vec<String> {
    let event = event_columns();
    let (projection, checkpoint) = (tables.projection(), tables.projection_checkpoint());
    let (effect, skip) = (tables.projection_effect(), tables.projection_skip());
    vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {projection} (
    name VARCHAR(128) NOT NULL,
    version INT NOT NULL,
    status VARCHAR(16) NOT NULL,
    created_at DATETIME(6) NOT NULL,
    live_at DATETIME(6) NULL,
    place LONGTEXT NULL,
    total BIGINT NOT NULL DEFAULT 0,
    built BIGINT NOT NULL DEFAULT 0,
    build_seconds DOUBLE NOT NULL DEFAULT 0,
    builder BINARY(16) NULL,
    builder_expires_at DATETIME(6) NULL,
    failures INT NOT NULL DEFAULT 0,
    failed_event BINARY(16) NULL,
    failed_at DATETIME(6) NULL,
    reason LONGTEXT NULL,
    stopped_at DATETIME(6) NULL,
    skips BOOLEAN NOT NULL DEFAULT FALSE,
    releases BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (name, version)
) {TABLE_OPTIONS}"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {checkpoint} (
    projection VARCHAR(128) NOT NULL,
    version INT NOT NULL,
    aggregate_type VARCHAR(190) NOT NULL,
    aggregate_id VARCHAR(255) NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (projection, version, aggregate_type, aggregate_id)
) {TABLE_OPTIONS}"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {effect} (
    projection VARCHAR(128) NOT NULL,
    version INT NOT NULL,
    position BIGINT NOT NULL,
    shard INT NOT NULL,
    {event},
    PRIMARY KEY (projection, version, position)
) {TABLE_OPTIONS}"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {skip} (
    projection VARCHAR(128) NOT NULL,
    version INT NOT NULL,
    event_id BINARY(16) NOT NULL,
    reason VARCHAR({}) NOT NULL,
    actor VARCHAR({}) NULL,
    skipped_at DATETIME(6) NOT NULL,
    PRIMARY KEY (projection, version, event_id)
) {TABLE_OPTIONS}",
            limits::REASON,
            limits::ACTOR
        ),
    ]
}

/// The handlers of every process.
fn handler(tables: &Tables) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (
    name VARCHAR(190) NOT NULL PRIMARY KEY,
    takes LONGTEXT NOT NULL,
    ordered BOOLEAN NOT NULL,
    starts_after BIGINT NOT NULL,
    starts_at DATETIME(6) NULL,
    recorded_at DATETIME(6) NOT NULL,
    paused_at DATETIME(6) NULL,
    pause_reason LONGTEXT NULL,
    pause_actor LONGTEXT NULL
) {TABLE_OPTIONS}",
        tables.handler()
    )
}

/// The keys of a table, as they follow its primary key.
fn keys(tables: &Tables, table: &str) -> String {
    let of_table = |index: &&Index<'_>| index.table == table;
    let key = |index: &Index<'_>| {
        format!(
            ",\n    {} {} ({})",
            index.kind(),
            index.full_name(),
            index.columns
        )
    };
    every_index(tables)
        .iter()
        .filter(of_table)
        .map(key)
        .collect()
}

fn every_index(tables: &Tables) -> Vec<Index<'_>> {
    let alerted_at = Index {
        table: tables.dead_letter(),
        name: "alerted_at",
        columns: "alerted_at, failed_at, event_id",
        unique: false,
    };
    let mut every = indexes::all(tables);
    every.push(alerted_at);
    every
}

/// Makes an index that was dropped. MySQL knows no `CREATE INDEX IF NOT EXISTS`, so that the server
/// puts the statement together.
fn create_index(index: &Index<'_>, schema: Option<&str>) -> String {
    let (name, table, columns, kind) =
        (index.full_name(), index.table, index.columns, index.kind());
    let database = schema.map_or_else(|| "DATABASE()".to_owned(), |schema| format!("'{schema}'"));
    format!(
        "SET @bento_index = (SELECT IF(count(*) = 0, 'CREATE {kind} {name} ON {table} \
         ({columns})', 'DO 0') FROM information_schema.statistics WHERE table_schema = {database} \
         AND table_name = '{}' AND index_name = '{name}'); PREPARE bento_index FROM @bento_index; \
         EXECUTE bento_index; DEALLOCATE PREPARE bento_index",
        bare(table)
    )
}

/// MariaDB has no JSON type to cast to, so both show JSON as text that is known to be valid.
fn status_view(tables: &Tables) -> String {
    let as_json = |column: &str| {
        let text = format!("CONVERT({column} USING utf8mb4)");
        format!("CASE WHEN JSON_VALID({text}) THEN {text} END")
    };
    let columns = columns::in_status(
        |id| {
            let part = |from_to| format!("SUBSTR(HEX({id}), {from_to})");
            let parts = ["1, 8", "9, 4", "13, 4", "17, 4", "21"].map(part);
            format!("LOWER(CONCAT_WS('-', {}))", parts.join(", "))
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
