//! SQLite 3.35 and later.

use bento_core::telemetry::TARGET_RELAY;
use chrono::{DateTime, SecondsFormat, Utc};
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, SqliteTransactionMode, Statement,
    TransactionOptions, Value,
};

use super::{Dialect, InsertLimits, Look, NoValue, Renewal, Renewed, Renewing, Sql, Warning};
use crate::tables::Tables;

#[derive(Debug)]
pub(super) struct Sqlite;

/// `PRAGMA synchronous`: a commit waits for the disk.
const FULL: i32 = 2;

impl Dialect for Sqlite {
    fn backend(&self) -> DbBackend {
        DbBackend::Sqlite
    }

    fn create_schema(&self, tables: &Tables) -> Vec<String> {
        let mut statements = vec![outbox(tables), held(tables), dead_letter(tables)];
        statements.extend(side_indexes(tables));
        statements.extend(relay_tables(tables));
        statements.push(status_view(tables));
        statements
    }

    fn drop_schema(&self, tables: &Tables) -> Vec<String> {
        let mut statements = vec![format!("DROP VIEW {}", tables.status())];
        statements.extend(
            [tables.meta(), tables.relay(), tables.shard(), tables.dead_letter(), tables.held(), tables.outbox()]
                .map(|table| format!("DROP TABLE {table}")),
        );
        statements
    }

    /// The transaction is the lock: it begins IMMEDIATE.
    fn lock_migrations(&self) -> Option<&'static str> {
        Some("SELECT 1")
    }

    fn placeholder(&self, _number: usize, sql: &mut String) {
        sql.push('?');
    }

    /// A statement has 32,766 parameters at most, and a value 1,000,000,000 bytes.
    fn insert_limits(&self) -> InsertLimits {
        InsertLimits { rows: 32_766 / 15, bytes: 256 << 20 }
    }

    fn or_leave(&self, _table: &str, key: &[&str]) -> String {
        format!(" ON CONFLICT ({}) DO NOTHING", key.join(", "))
    }

    fn returning(&self, column: &str) -> Option<String> {
        Some(format!(" RETURNING {column}"))
    }

    fn now(&self) -> &'static str {
        "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
    }

    fn after_micros(&self, placeholder: &str, sql: &mut String) {
        sql.push_str("strftime('%Y-%m-%dT%H:%M:%fZ', 'now', printf('%+.6f seconds', ");
        sql.push_str(placeholder);
        sql.push_str(" / 1000000.0))");
    }

    fn micros_until(&self, column: &str) -> String {
        format!("CAST(round((julianday({column}) - julianday('now')) * 86400000.0) * 1000 AS INTEGER)")
    }

    fn one_of(&self, numbers: Vec<i64>, sql: &mut String, values: &mut Vec<Value>) {
        let numbers: Vec<_> = numbers.iter().map(i64::to_string).collect();
        values.push(format!("[{}]", numbers.join(",")).into());
        sql.push_str(" IN (SELECT value FROM json_each(?))");
    }

    /// The same form as [`now`](Self::now): times are compared as text.
    fn time(&self, time: DateTime<Utc>) -> Value {
        time.to_rfc3339_opts(SecondsFormat::Millis, true).into()
    }

    /// A transaction that writes is the only one.
    fn lock_unlocked(&self) -> &'static str {
        ""
    }

    /// A transaction that began by reading could not write any more once somebody else has written.
    fn relay_transaction(&self) -> TransactionOptions {
        TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        }
    }

    fn warn_unless_durable<'a>(&'a self, db: &'a DatabaseConnection) -> Warning<'a> {
        Box::pin(async move {
            let row = db.query_one_raw(Statement::from_string(DbBackend::Sqlite, "PRAGMA synchronous")).await?;
            let synchronous: i32 = row.map_or(Ok(FULL), |row| row.try_get_by_index(0))?;
            if synchronous < FULL {
                tracing::warn!(
                    target: TARGET_RELAY,
                    "the relay's connection has `PRAGMA synchronous` below FULL: an event may be published and then be lost \
                     when the power fails"
                );
            }
            Ok(())
        })
    }

    fn renew<'a>(&'a self, tx: &'a DatabaseTransaction, renewal: Renewal<'a>) -> Renewing<'a> {
        Box::pin(async move {
            let Renewal { tables, lease, ttl, published } = renewal;
            let renew = Sql::new(&Sqlite, &format!("UPDATE {} SET expires_at = ", tables.shard()))
                .after(ttl)
                .push(" WHERE shard = ")
                .bind(lease.shard)
                .push(" AND owner = ")
                .bind(lease.owner.0)
                .push(" AND epoch = ")
                .bind(lease.epoch)
                .push(" RETURNING revision");
            let Some(row) = tx.query_one_raw(renew.build()).await? else { return Ok(None) };
            super::delete_published(tx, &Sqlite, tables, lease.shard, published).await?;
            Ok(Some(Renewed { revision: row.try_get_by_index(0)?, horizon: None }))
        })
    }

    fn missing_table(&self, error: &dyn DatabaseError) -> Option<String> {
        error
            .message()
            .split_once("no such table: ")
            .map(|(_, table)| table.rsplit('.').next().unwrap_or(table).to_owned())
    }

    /// `SQLITE_BUSY` and `SQLITE_LOCKED` with their extended codes, whose low byte is the code.
    fn is_transient(&self, error: &dyn DatabaseError) -> bool {
        let code = error.code().and_then(|code| code.parse::<i32>().ok());
        code.is_some_and(|code| matches!(code & 0xff, 5 | 6))
    }

    /// It rolls back by itself when it is out of space or memory, or a constraint says `ON CONFLICT ROLLBACK`, and the error
    /// does not tell. `BEGIN` is refused inside a transaction and harmless; where it succeeds there was none, and now the
    /// driver has one to roll back.
    fn look(&self) -> Look {
        Look::BeforeNext("BEGIN")
    }
}

const EVENT_COLUMNS: &str = "
    event_id BLOB NOT NULL,
    event_type TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    aggregate_type TEXT NOT NULL,
    aggregate_id TEXT NOT NULL,
    sequence INTEGER,
    tenant_id TEXT,
    topic TEXT,
    routing_key TEXT,
    routing BLOB,
    routing_version INTEGER,
    occurred_at TEXT NOT NULL,
    content_encoding TEXT,
    key_id TEXT,
    headers BLOB,
    payload BLOB NOT NULL";

/// AUTOINCREMENT never hands out a position twice, not even after the rows above it are gone.
fn outbox(tables: &Tables) -> String {
    format!(
        "CREATE TABLE {} (
    shard INTEGER NOT NULL,
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    {EVENT_COLUMNS},
    UNIQUE (shard, position),
    UNIQUE (event_id)
)",
        tables.outbox()
    )
}

fn held(tables: &Tables) -> String {
    format!(
        "CREATE TABLE {} (
    shard INTEGER NOT NULL,
    position INTEGER NOT NULL,
    destination TEXT NOT NULL,
    {EVENT_COLUMNS},
    attempts INTEGER NOT NULL DEFAULT 0,
    retry_after TEXT,
    error_message TEXT,
    PRIMARY KEY (shard, destination, position)
)",
        tables.held()
    )
}

fn dead_letter(tables: &Tables) -> String {
    format!(
        "CREATE TABLE {} (
    shard INTEGER NOT NULL,
    position INTEGER NOT NULL,
    destination TEXT NOT NULL,
    {EVENT_COLUMNS},
    attempts INTEGER NOT NULL,
    error_message TEXT NOT NULL,
    cause TEXT NOT NULL,
    parks BOOLEAN NOT NULL,
    failed_at TEXT NOT NULL,
    PRIMARY KEY (event_id, destination)
)",
        tables.dead_letter()
    )
}

fn side_indexes(tables: &Tables) -> [String; 11] {
    let index = |table: &str, name: &str, columns: &str| format!("CREATE INDEX {table}_{name} ON {table} ({columns})");
    let (held, dead_letter) = (tables.held(), tables.dead_letter());
    [
        index(held, "stream", "shard, destination, aggregate_type, aggregate_id, position"),
        index(held, "retry_after", "shard, retry_after"),
        index(held, "aggregate", "aggregate_type, aggregate_id"),
        index(held, "event_id", "event_id"),
        index(held, "tenant_id", "tenant_id"),
        index(held, "event_type", "event_type"),
        index(dead_letter, "stream", "shard, destination, aggregate_type, aggregate_id, position"),
        index(dead_letter, "aggregate", "aggregate_type, aggregate_id"),
        index(dead_letter, "failed_at", "failed_at, event_id"),
        index(dead_letter, "tenant_id", "tenant_id"),
        index(dead_letter, "event_type", "event_type"),
    ]
}

fn relay_tables(tables: &Tables) -> [String; 3] {
    let (shard, relay, meta) = (tables.shard(), tables.relay(), tables.meta());
    [
        format!(
            "CREATE TABLE {shard} (
    shard INTEGER NOT NULL PRIMARY KEY,
    owner BLOB,
    epoch INTEGER NOT NULL DEFAULT 0,
    expires_at TEXT,
    revision INTEGER NOT NULL DEFAULT 0
)"
        ),
        format!("CREATE TABLE {relay} (id BLOB NOT NULL PRIMARY KEY, lanes TEXT, expires_at TEXT NOT NULL)"),
        format!(
            "CREATE TABLE {meta} (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    shards INTEGER NOT NULL,
    lanes INTEGER NOT NULL,
    hash TEXT NOT NULL
)"
        ),
    ]
}

fn status_view(tables: &Tables) -> String {
    let as_json = |column: &str| {
        let text = format!("CAST({column} AS TEXT)");
        format!("CASE WHEN json_valid({text}) THEN {text} END")
    };
    let columns = format!(
        "shard, position, lower(substr(hex(event_id), 1, 8) || '-' || substr(hex(event_id), 9, 4) || '-' || \
         substr(hex(event_id), 13, 4) || '-' || substr(hex(event_id), 17, 4) || '-' || substr(hex(event_id), 21)) AS event_id, \
         event_type, schema_version, aggregate_type, aggregate_id, sequence, tenant_id, topic, routing_key, occurred_at, \
         content_encoding, key_id, {} AS headers, CASE WHEN content_encoding IS NULL THEN {} END AS payload",
        as_json("headers"),
        as_json("payload"),
    );
    super::status_view(tables, &columns, &NoValue { text: "NULL", number: "0", time: "NULL" })
}
