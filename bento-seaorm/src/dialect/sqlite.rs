//! SQLite 3.35 and later.

mod schema;

use bento_relay::telemetry::TARGET_RELAY;
use chrono::{DateTime, SecondsFormat, Utc};
use sea_orm::{
    ConnectionTrait, DbBackend, SqliteTransactionMode, Statement, TransactionOptions, Value,
};
use uuid::Uuid;

use super::{
    Dialect, FIRST_TIME, InsertLimits, LAST_TIME, Renewal, Renewed, Renewing, Sql, Warning, after,
    binds, projecting,
};
use crate::backend::Sqlite;
use crate::checkpoint::{Checkpoint, Checkpoints, Gap, ProjectionKey};
use crate::columns::PARAMETERS;
use crate::session::{Shielded, StoreTransaction};
use crate::stream::PageOf;
use crate::tables::Tables;

/// `PRAGMA synchronous`: a commit waits for the disk.
const FULL: i32 = 2;

impl Dialect for Sqlite {
    fn create_schema(&self, tables: &Tables) -> Vec<String> {
        if tables.is_projections() {
            schema::create_projections(tables)
        } else if tables.is_events() {
            schema::create_events(tables)
        } else {
            schema::create(tables)
        }
    }

    fn drop_schema(&self, tables: &Tables) -> Vec<String> {
        let view = tables.have_a_direction().then(|| tables.status());
        let mut statements: Vec<_> = view
            .map(|view| format!("DROP VIEW IF EXISTS {view}"))
            .into_iter()
            .collect();
        statements.extend(
            self.all_tables(tables)
                .iter()
                .map(|table| format!("DROP TABLE IF EXISTS {table}")),
        );
        statements
    }

    /// The transaction is the lock: it begins IMMEDIATE.
    fn lock_migrations(&self, _schema: Option<&str>) -> String {
        "SELECT 1".to_owned()
    }

    fn placeholder(&self, _number: usize, sql: &mut String) {
        sql.push('?');
    }

    /// A statement has 32,766 parameters at most, and a value 1,000,000,000 bytes.
    fn insert_limits(&self) -> InsertLimits {
        InsertLimits {
            rows: 32_766 / PARAMETERS,
            bytes: 256 << 20,
        }
    }

    fn or_leave(&self, _table: &str, key: &[&str]) -> String {
        format!(" ON CONFLICT ({}) DO NOTHING", key.join(", "))
    }

    fn returning(&self, column: &str) -> Option<String> {
        Some(format!(" RETURNING {column}"))
    }

    /// A value has a type of its own.
    fn types_columns(&self) -> bool {
        false
    }

    fn read_checkpoints(&self, of: Checkpoints<'_>) -> Statement {
        projecting::read_list(&Sqlite, of)
    }

    fn write_checkpoints(
        &self,
        tables: &Tables,
        key: &ProjectionKey,
        checkpoints: Vec<Checkpoint>,
    ) -> Statement {
        projecting::write_values(&Sqlite, tables, key, checkpoints)
    }

    fn events_in(
        &self,
        tables: &Tables,
        gaps: &[Gap],
        types: Option<&[String]>,
        limit: u64,
    ) -> Statement {
        projecting::select_in(&Sqlite, tables, gaps, types, limit)
    }

    fn delete_events(&self, tables: &Tables, ids: Vec<Uuid>) -> Statement {
        projecting::delete_list(&Sqlite, tables, ids)
    }

    fn page_of_events(&self, page: PageOf<'_>) -> Statement {
        let select = Sql::new(
            &Sqlite,
            page.tables,
            "SELECT position, {read_stored_event} FROM {events} WHERE position > ?",
            binds![page.after],
        );
        let select = match page.event_type {
            Some(event_type) => select.then(" AND event_type = ?", binds![event_type]),
            None => select,
        };
        select
            .then(" ORDER BY position LIMIT ?", binds![page.limit])
            .build()
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
        format!(
            "CAST(round((julianday({column}) - julianday('now')) * 86400000.0) * 1000 AS INTEGER)"
        )
    }

    fn one_of(&self, numbers: Vec<i64>, sql: &mut String, values: &mut Vec<Value>) {
        let numbers: Vec<_> = numbers.iter().map(i64::to_string).collect();
        values.push(format!("[{}]", numbers.join(",")).into());
        sql.push_str(" IN (SELECT value FROM json_each(?))");
    }

    /// The same form as [`now`](Self::now): times are compared as text.
    fn time(&self, time: DateTime<Utc>) -> Value {
        time.clamp(FIRST_TIME, LAST_TIME)
            .to_rfc3339_opts(SecondsFormat::Millis, true)
            .into()
    }

    /// A transaction that writes is the only one.
    fn update_shards(&self, set: &str, condition: &str) -> String {
        format!("UPDATE {{shard}} SET {set} WHERE {condition}")
    }

    /// A transaction that writes is the only one.
    fn lock_rows(&self) -> &'static str {
        ""
    }

    fn lock_unlocked(&self) -> &'static str {
        ""
    }

    /// A transaction that began by reading could not write any more after another one has written.
    fn relay_transaction(&self) -> TransactionOptions {
        TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        }
    }

    fn warn_unless_durable<'a>(&'a self, db: &'a Shielded) -> Warning<'a> {
        Box::pin(async move {
            let row = db
                .query_one_raw(Statement::from_string(
                    DbBackend::Sqlite,
                    "PRAGMA synchronous",
                ))
                .await?;
            let synchronous: i32 = row.map_or(Ok(FULL), |row| row.try_get_by_index(0))?;
            if synchronous < FULL {
                tracing::warn!(
                    target: TARGET_RELAY,
                    "the relay's connection has `PRAGMA synchronous` below FULL: an event may be \
                     published and then be lost when the power fails"
                );
            }
            Ok(())
        })
    }

    fn renew<'a>(&'a self, tx: &'a StoreTransaction, renewal: Renewal<'a>) -> Renewing<'a> {
        Box::pin(async move {
            let Renewal {
                tables,
                lease,
                ttl,
                published,
                keep,
            } = renewal;
            let renew = Sql::new(
                &Sqlite,
                tables,
                "UPDATE {shard} SET expires_at = ? \
                 WHERE shard = ? AND owner = ? AND epoch = ? RETURNING revision",
                binds![after(ttl), lease.shard, lease.owner.0, lease.epoch],
            );
            let Some(row) = tx.query_one_raw(renew.build()).await? else {
                return Ok(None);
            };
            super::pending::settle_published(tx, &Sqlite, tables, lease.shard, published, keep)
                .await?;
            Ok(Some(Renewed {
                revision: row.try_get_by_index(0)?,
                horizon: None,
            }))
        })
    }

    fn row_number(&self) -> Option<&'static str> {
        Some("rowid")
    }

    /// A column holds values of any type, and text that is none.
    fn shown(&self, column: &str) -> Option<String> {
        Some(format!(
            "CASE WHEN typeof({column}) IN ('integer', 'real') THEN CAST({column} AS TEXT) \
             WHEN {column} IS NOT NULL THEN typeof({column}) || ' ' || hex({column}) END"
        ))
    }
}
