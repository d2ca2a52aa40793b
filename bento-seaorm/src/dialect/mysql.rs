//! MySQL 8.0.17 and MariaDB 10.6, and later.

mod schema;

use std::time::Duration;

use bento_relay::telemetry::TARGET_RELAY;
use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, IsolationLevel, SqlErr, Statement, TransactionOptions, Value,
};
use uuid::Uuid;

use super::{
    Bind, Dialect, InsertLimits, LockLimit, Renewal, Renewed, Renewing, Sql, Warning, after, binds,
    in_list, projecting,
};
use crate::backend::MySql;
use crate::checkpoint::{Checkpoint, Checkpoints, Gap, ProjectionKey};
use crate::columns::{PARAMETERS, is_bytes};
use crate::session::{Shielded, StoreTransaction};
use crate::stream::PageOf;
use crate::tables::{Tables, bare};

/// `innodb_flush_log_at_trx_commit`: a commit waits for the disk.
const AT_EACH_COMMIT: i64 = 1;

impl Dialect for MySql {
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

    fn all_tables<'a>(&self, tables: &'a Tables) -> Vec<&'a str> {
        let mut all = tables.all();
        if tables.is_events() {
            all.splice(0..0, [tables.event_sequencer(), tables.event_log()]);
        }
        all
    }

    /// The lock belongs to the session, and DDL does not end it. The name holds that of the
    /// database, whose tables are migrated.
    fn lock_migrations(&self, schema: Option<&str>) -> String {
        format!(
            "SELECT CAST(GET_LOCK({}, 3600) AS SIGNED)",
            lock_name(schema)
        )
    }

    fn unlock_migrations(&self, schema: Option<&str>) -> Option<String> {
        Some(format!("DO RELEASE_LOCK({})", lock_name(schema)))
    }

    fn placeholder(&self, _number: usize, sql: &mut String) {
        sql.push('?');
    }

    /// A statement has 65,535 parameters at most, and a packet 16 MiB unless the server was told
    /// otherwise.
    fn insert_limits(&self) -> InsertLimits {
        InsertLimits {
            rows: 65_535 / PARAMETERS,
            bytes: 8 << 20,
        }
    }

    /// `INSERT IGNORE` would also truncate what is too long and swallow every other error.
    fn largest_statement(&self) -> Option<&'static str> {
        Some("SELECT CAST(@@max_allowed_packet AS SIGNED)")
    }

    fn or_leave(&self, table: &str, key: &[&str]) -> String {
        let unchanged = key.first().expect("a key has columns");
        format!(" ON DUPLICATE KEY UPDATE {table}.{unchanged} = {table}.{unchanged}")
    }

    /// A column that the condition names is written last.
    fn or_replace_if(
        &self,
        table: &str,
        _key: &[&str],
        columns: &[&str],
        condition: &str,
    ) -> String {
        let set = columns.iter().map(|column| {
            let (new, old) = (format!("VALUES({column})"), format!("{table}.{column}"));
            format!("{old} = IF({condition}, {new}, {old})")
        });
        let set = set.collect::<Vec<_>>().join(", ");
        format!(" ON DUPLICATE KEY UPDATE {set}")
    }

    fn is_duplicate(&self, error: &DbErr) -> bool {
        matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
    }

    /// With `ON DUPLICATE KEY UPDATE`, MariaDB returns the skipped rows too, and MySQL returns
    /// none. The number of affected rows does not help: the driver asks for found rows.
    fn returning(&self, _column: &str) -> Option<String> {
        None
    }

    fn logs_events(&self) -> bool {
        true
    }

    /// The log has the positions. It is limited before the events are looked up.
    fn quoted(&self, name: &str) -> String {
        format!("`{name}`")
    }

    fn replace_view(&self, view: &str, table: &str) -> Vec<String> {
        let (view, table) = (self.quoted(view), self.quoted(table));
        vec![format!(
            "CREATE OR REPLACE VIEW {view} AS SELECT * FROM {table}"
        )]
    }

    fn before_view(&self) -> Option<&'static str> {
        Some(
            "SET @bento_lock_wait_timeout = @@SESSION.lock_wait_timeout, SESSION lock_wait_timeout \
             = 1",
        )
    }

    fn after_view(&self) -> Option<&'static str> {
        Some("SET SESSION lock_wait_timeout = @bento_lock_wait_timeout")
    }

    fn read_checkpoints(&self, of: Checkpoints<'_>) -> Statement {
        projecting::read_list(&MySql, of)
    }

    fn write_checkpoints(
        &self,
        tables: &Tables,
        key: &ProjectionKey,
        checkpoints: Vec<Checkpoint>,
    ) -> Statement {
        projecting::write_values(&MySql, tables, key, checkpoints)
    }

    fn events_in(
        &self,
        tables: &Tables,
        gaps: &[Gap],
        types: Option<&[String]>,
        limit: u64,
    ) -> Statement {
        projecting::select_in(&MySql, tables, gaps, types, limit)
    }

    /// Each row is looked up by its key: a scan, which a small table gets otherwise, would wait for
    /// rows of transactions that are open.
    fn delete_events(&self, tables: &Tables, ids: Vec<Uuid>) -> Statement {
        let others = " UNION ALL SELECT ?".repeat(ids.len().saturating_sub(1));
        let index = bare(tables.outbox());
        // Under its own name: another one would be looked for in the database of the session.
        let delete = format!(
            "DELETE FROM {{outbox}} USING (SELECT ? AS id{others}) given STRAIGHT_JOIN {{outbox}} \
             FORCE INDEX ({index}_event_id) ON {{outbox}}.event_id = given.id"
        );
        Sql::new(&MySql, tables, &delete, ids.into_iter().map(Bind::from)).build()
    }

    fn page_of_events(&self, page: PageOf<'_>) -> Statement {
        let log = Sql::new(
            &MySql,
            page.tables,
            "SELECT log.place, {read_stored_event} FROM (SELECT position AS place, aggregate_type \
             AS of_type, aggregate_id AS of_id, sequence AS of_sequence FROM {event_log} WHERE \
             position > ?",
            binds![page.after],
        );
        let log = match page.event_type {
            Some(event_type) => log.then(" AND event_type = ?", binds![event_type]),
            None => log,
        };
        log.then(
            " ORDER BY position LIMIT ?) log JOIN {events} ON aggregate_type = log.of_type AND \
             aggregate_id = log.of_id AND sequence = log.of_sequence ORDER BY log.place",
            binds![page.limit],
        )
        .build()
    }

    fn now(&self) -> &'static str {
        "UTC_TIMESTAMP(6)"
    }

    fn after_micros(&self, placeholder: &str, sql: &mut String) {
        sql.push_str("(UTC_TIMESTAMP(6) + INTERVAL ");
        sql.push_str(placeholder);
        sql.push_str(" MICROSECOND)");
    }

    fn micros_until(&self, column: &str) -> String {
        format!("TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), {column})")
    }

    /// The list is filled up to a power of two with its last number, so that there are few texts to
    /// prepare.
    fn one_of(&self, numbers: Vec<i64>, sql: &mut String, values: &mut Vec<Value>) {
        in_list(numbers, sql, values);
    }

    /// It can limit a DELETE, and cannot limit a subquery of IN.
    fn delete_some(&self, table: &str, _key: &str, rows: &str) -> String {
        format!("DELETE FROM {table} {rows}")
    }

    /// Small tables are scanned otherwise, and with REPEATABLE READ a scan waits for every row that
    /// is locked. The primary key finds and locks the rows in its order.
    fn update_shards(&self, set: &str, condition: &str) -> String {
        format!("UPDATE {{shard}} FORCE INDEX (PRIMARY) SET {set} WHERE {condition}")
    }

    /// Without a time zone the driver binds a DATETIME, which holds the years 1000 to 9999. With
    /// one it binds a TIMESTAMP, which ends in 2038.
    fn event_time(&self, time: DateTime<Utc>) -> Value {
        time.naive_utc().into()
    }

    fn relay_transaction(&self) -> TransactionOptions {
        TransactionOptions {
            isolation_level: Some(IsolationLevel::ReadCommitted),
            ..TransactionOptions::default()
        }
    }

    /// MariaDB alone can say it, in whole seconds, and runs what is between `/*M!` and `*/`.
    fn lock_within(&self, wait: Duration) -> LockLimit {
        let end = format!(
            "{} /*M! WAIT {} */",
            self.lock_rows(),
            wait.as_secs().max(1)
        );
        LockLimit {
            before: None,
            end,
            behind: None,
        }
    }

    /// MariaDB alone has the variable, and runs what is between `/*M!` and `*/`.
    fn prepare_handler_transaction(&self, idle: Duration) -> Option<String> {
        let idle = idle.as_secs().max(1);
        Some(format!(
            "SET @bento_idle = {idle} /*M! , SESSION idle_transaction_timeout = {idle} */"
        ))
    }

    fn lift_idle_limit(&self) -> Option<&'static str> {
        Some("SET @bento_idle = 0 /*M! , SESSION idle_transaction_timeout = DEFAULT */")
    }

    fn warn_unless_durable<'a>(&'a self, db: &'a Shielded) -> Warning<'a> {
        Box::pin(async move {
            let asked = "SELECT CAST(@@innodb_flush_log_at_trx_commit AS SIGNED)";
            let row = db
                .query_one_raw(Statement::from_string(DbBackend::MySql, asked))
                .await?;
            warn_unless_flushed(row.map_or(Ok(AT_EACH_COMMIT), |row| row.try_get_by_index(0))?);
            Ok(())
        })
    }

    /// The statement hands the revision back as the last insert id, which saves a round trip.
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
                &MySql,
                tables,
                "UPDATE {shard} SET expires_at = ?, revision = LAST_INSERT_ID(revision) \
                 WHERE shard = ? AND owner = ? AND epoch = ?",
                binds![after(ttl), lease.shard, lease.owner.0, lease.epoch],
            );
            let renewed = tx.execute_raw(renew.build()).await?;
            if renewed.rows_affected() == 0 {
                return Ok(None);
            }
            super::pending::settle_published(tx, &MySql, tables, lease.shard, published, keep)
                .await?;
            Ok(Some(Renewed {
                revision: renewed.last_insert_id().cast_signed(),
                horizon: None,
            }))
        })
    }

    /// Read as a loose scan of the index, *Using index for group-by*. In subqueries of a recursive
    /// query the server reads every entry.
    fn stored_versions(&self) -> &'static str {
        "SELECT event_type, schema_version FROM {events} GROUP BY event_type, schema_version"
    }

    /// A sum is a DECIMAL.
    fn sum(&self, column: &str) -> String {
        format!("CAST(SUM({column}) AS SIGNED)")
    }

    fn shown(&self, column: &str) -> Option<String> {
        match column {
            "event_id" => Some(format!("HEX({column})")),
            column => (!is_bytes(column)).then(|| format!("CAST({column} AS CHAR)")),
        }
    }
}

/// Warns if the server does not flush its log at each commit. The setting is the server's, so the
/// relay does not change it.
fn warn_unless_flushed(at_commit: i64) {
    if loses_commits(at_commit) {
        tracing::warn!(
            target: TARGET_RELAY,
            innodb_flush_log_at_trx_commit = at_commit,
            "the server does not flush its log at each commit: an event may be published and then \
             be lost in a crash; set `innodb_flush_log_at_trx_commit = 1`"
        );
    }
}

/// True if a crash of the server can lose transactions that were committed.
fn loses_commits(at_commit: i64) -> bool {
    at_commit != AT_EACH_COMMIT
}

/// The name of the lock of a database, or of the session's own database.
fn lock_name(schema: Option<&str>) -> String {
    let database = schema.map_or_else(
        || "COALESCE(DATABASE(), '')".to_owned(),
        |schema| format!("'{schema}'"),
    );
    format!("CONCAT('bento_migration.', MD5({database}))")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_not_flushed_at_each_commit_is_warned_of() {
        assert_eq!([1, 0, 2].map(loses_commits), [false, true, true]);
    }
}
