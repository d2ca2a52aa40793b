//! PostgreSQL 13 and later.

mod pooler;
mod schema;
mod unnest;

use bento_core::outbox::OutboxEntry;
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::sqlx::postgres::{PgDatabaseError, PgSeverity};
use sea_orm::{ConnectionTrait, DbBackend, Statement, TransactionOptions, Value};

use super::{
    Dialect, Horizon, InsertLimits, Look, MissingSchema, MissingTable, Renewal, Renewed, Renewing,
    ShardsUpdate, Sql, Warning, insert_values,
};
use crate::entity::{BYTES, MOVED};
use crate::session::{Shielded, StoreTransaction};
use crate::tables::Tables;

#[derive(Debug)]
pub(super) struct Postgres;

/// Up to so many rows multi-row VALUES is quicker than UNNEST. It would be up to about 50, but each
/// number of rows is one more statement that every connection keeps prepared.
const VALUES_UP_TO: usize = 20;

/// What stands for infinity where a number of microseconds is asked for.
const FAR_AWAY: i64 = 1 << 60;

/// `admin_shutdown`, `crash_shutdown`, `cannot_connect_now`, `database_dropped`,
/// `idle_session_timeout`, `idle_in_transaction_session_timeout`, `transaction_timeout`. The class
/// 08 is of the same kind, and every FATAL error.
const DISCONNECTED: [&str; 7] = [
    "57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04",
];
/// `read_only_sql_transaction`.
const READ_ONLY: &str = "25006";
/// `undefined_table`.
const UNDEFINED_TABLE: &str = "42P01";
/// `invalid_schema_name`.
const INVALID_SCHEMA_NAME: &str = "3F000";
/// The place of a table whose schema is not named. The failed transaction answers no query any
/// more, so the path itself is unknown.
const UNNAMED: &str = "in the `search_path` of the session (`SHOW search_path`), and no schema is \
                       named (`TablePrefix::in_schema`)";
/// `in_failed_sql_transaction`.
const IN_FAILED_TRANSACTION: &str = "25P02";

impl Dialect for Postgres {
    fn backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    fn create_schema(&self, tables: &Tables) -> Vec<String> {
        schema::create(tables)
    }

    fn drop_schema(&self, tables: &Tables) -> Vec<String> {
        let mut statements = vec![
            format!("DROP VIEW IF EXISTS {}", tables.status()),
            format!("DROP FUNCTION IF EXISTS {}(bytea)", tables.named("as_json")),
        ];
        statements.extend(
            tables
                .all()
                .map(|table| format!("DROP TABLE IF EXISTS {table}")),
        );
        statements.push(format!(
            "DROP SEQUENCE IF EXISTS {}",
            tables.named("outbox_position")
        ));
        statements
    }

    fn schema_quote(&self) -> Option<char> {
        Some('"')
    }

    /// The session has a schema to create in unless none of its `search_path` exists, and the error
    /// names none then.
    fn missing_schema(&self, error: &dyn DatabaseError) -> Option<MissingSchema> {
        (error.code().as_deref() == Some(INVALID_SCHEMA_NAME)).then(|| {
            match error.message().split('"').nth(1) {
                Some(schema) => MissingSchema::Named(schema.to_owned()),
                None => MissingSchema::OfTheSession,
            }
        })
    }

    /// The number means nothing but itself. The lock ends with the transaction, so that it works
    /// behind a pooler.
    fn lock_migrations(&self, _schema: Option<&str>) -> String {
        "SELECT 1::bigint FROM (SELECT pg_advisory_xact_lock(5642851902378123)) locked".to_owned()
    }

    fn placeholder(&self, number: usize, sql: &mut String) {
        use std::fmt::Write as _;
        write!(sql, "${number}").expect("writing to a String succeeds");
    }

    /// A message to the server holds 1 GiB at most; there is no limit to the rows of UNNEST.
    fn insert_limits(&self) -> InsertLimits {
        InsertLimits {
            rows: usize::MAX,
            bytes: 256 << 20,
        }
    }

    fn or_leave(&self, _table: &str, key: &[&str]) -> String {
        format!(" ON CONFLICT ({}) DO NOTHING", key.join(", "))
    }

    fn returning(&self, column: &str) -> Option<String> {
        Some(format!(" RETURNING {column}"))
    }

    fn insert(
        &self,
        tables: &Tables,
        entries: Vec<OutboxEntry>,
        end: &str,
        values: &dyn Fn(usize) -> String,
    ) -> Statement {
        if entries.len() <= VALUES_UP_TO {
            return insert_values(DbBackend::Postgres, entries, end, values, Value::from);
        }
        unnest::insert(tables, entries, end)
    }

    fn now(&self) -> &'static str {
        "clock_timestamp()"
    }

    /// A function that may answer differently for each row is compared with each row.
    fn now_once(&self) -> &'static str {
        "(SELECT clock_timestamp())"
    }

    fn after_micros(&self, placeholder: &str, sql: &mut String) {
        sql.push_str("(clock_timestamp() + ");
        sql.push_str(placeholder);
        sql.push_str("::bigint * interval '1 microsecond')");
    }

    fn micros_until(&self, column: &str) -> String {
        format!(
            "CASE WHEN isfinite({column}) THEN (extract(epoch FROM {column} - clock_timestamp()) \
             * 1000000)::bigint WHEN {column} > clock_timestamp() THEN {FAR_AWAY} WHEN {column} \
             IS NOT NULL THEN -{FAR_AWAY} END"
        )
    }

    fn one_of(&self, numbers: Vec<i64>, sql: &mut String, values: &mut Vec<Value>) {
        values.push(numbers.into());
        sql.push_str(" = ANY(");
        self.placeholder(values.len(), sql);
        sql.push_str("::bigint[])");
    }

    /// An UPDATE locks rows as its scan finds them, which is the order of nothing. The subquery
    /// locks them first, and is evaluated once.
    fn update_shards(&self, table: &str) -> ShardsUpdate {
        ShardsUpdate {
            begin: format!("UPDATE {table} SET "),
            condition: format!(" WHERE shard = ANY(ARRAY(SELECT shard FROM {table} WHERE "),
            end: " ORDER BY shard FOR UPDATE))",
        }
    }

    /// After a failover to a standby that lacks the last commits, positions are handed out again
    /// that the relay has passed; after TRUNCATE … RESTART IDENTITY all of them are. Another server
    /// started at another time, and a sequence that is restarted gets another file.
    fn history(&self, tables: &Tables) -> Option<String> {
        let sequence = tables.named("outbox_position");
        Some(format!(
            "hashtextextended(concat_ws(' ', extract(epoch FROM pg_postmaster_start_time()), \
             pg_relation_filenode('{sequence}'::regclass)), 0)"
        ))
    }

    fn last_position(&self, tables: &Tables) -> Option<String> {
        let sequence = tables.named("outbox_position");
        Some(format!(
            "(SELECT last_value - CASE WHEN is_called THEN 0 ELSE 1 END FROM {sequence})"
        ))
    }

    fn relay_transaction(&self) -> TransactionOptions {
        TransactionOptions::default()
    }

    fn prepare_relay_transaction(&self) -> Option<&'static str> {
        Some(PREPARE)
    }

    fn warn_of_pooler<'a>(&'a self, db: &'a Shielded) -> Warning<'a> {
        Box::pin(async {
            pooler::warn(db.inner()).await;
            Ok(())
        })
    }

    /// `duplicate_prepared_statement`, `invalid_sql_statement_name`.
    fn advice(&self, error: &dyn DatabaseError) -> Option<&'static str> {
        matches!(error.code().as_deref(), Some("42P05" | "26000")).then_some(pooler::ADVICE)
    }

    /// One round trip. The deletion waits for the lease: the subquery has to be answered before the
    /// first row goes.
    fn renew<'a>(&'a self, tx: &'a StoreTransaction, renewal: Renewal<'a>) -> Renewing<'a> {
        Box::pin(async move {
            let row = tx.query_one_raw(renew_statement(renewal)).await?;
            row.map(|row| {
                let horizon = Horizon {
                    own: row.try_get_by_index(1)?,
                    oldest_running: row.try_get_by_index(2)?,
                    last_position: row.try_get_by_index(3)?,
                    history: row.try_get_by_index(4)?,
                };
                Ok(Renewed {
                    revision: row.try_get_by_index(0)?,
                    horizon: Some(horizon),
                })
            })
            .transpose()
        })
    }

    /// The driver panics at a time that is infinite, or beyond the calendar of chrono.
    fn read_time(&self, column: &str) -> String {
        format!(
            "CASE WHEN isfinite({column}) AND {column} < '200000-01-01 00:00:00Z' THEN {column} END"
        )
    }

    fn shown(&self, column: &str) -> Option<String> {
        (!BYTES.contains(&column)).then(|| format!("{column}::text"))
    }

    /// Data exceptions, violations of constraints, limits of the program (a row that is too wide
    /// for an index).
    fn is_refusal(&self, error: &dyn DatabaseError) -> bool {
        error.code().is_some_and(|code| {
            ["22", "23", "54"]
                .iter()
                .any(|class| code.starts_with(class))
        })
    }

    fn missing_table(&self, error: &dyn DatabaseError) -> Option<MissingTable> {
        (error.code().as_deref() == Some(UNDEFINED_TABLE)).then(|| {
            let name = error.message().split('"').nth(1).unwrap_or(error.message());
            match name.rsplit_once('.') {
                Some((schema, table)) => MissingTable {
                    table: table.to_owned(),
                    place: format!("in schema `{schema}`"),
                },
                None => MissingTable {
                    table: name.to_owned(),
                    place: UNNAMED.to_owned(),
                },
            }
        })
    }

    fn ask_search_path(&self) -> Option<&'static str> {
        Some("SELECT current_setting('search_path'), current_database()::text")
    }

    /// Serialisation failure, deadlock, lock not available.
    fn is_transient(&self, error: &dyn DatabaseError) -> bool {
        matches!(error.code().as_deref(), Some("40001" | "40P01" | "55P03"))
    }

    fn is_disconnection(&self, error: &dyn DatabaseError) -> bool {
        let error = error.try_downcast_ref::<PgDatabaseError>();
        error.is_some_and(|error| ends_connection(error.severity(), error.code()))
    }

    fn is_aborted(&self, error: &dyn DatabaseError) -> bool {
        error
            .code()
            .is_some_and(|code| code == IN_FAILED_TRANSACTION)
    }

    fn is_read_only(&self, error: &dyn DatabaseError) -> bool {
        error.code().is_some_and(|code| code == READ_ONLY)
    }

    fn ask_read_only(&self) -> Option<&'static str> {
        Some("SELECT 1 WHERE current_setting('transaction_read_only') = 'on'")
    }

    /// It answers the COMMIT of an aborted transaction with ROLLBACK, and that is no error to the
    /// driver.
    fn look(&self) -> Look {
        Look::BeforeCommit("SELECT 1")
    }
}

/// True if an error is the last one of its connection. A pooler between may send other codes than
/// the server, and all of them FATAL.
fn ends_connection(severity: PgSeverity, code: &str) -> bool {
    matches!(severity, PgSeverity::Fatal | PgSeverity::Panic)
        || code.starts_with("08")
        || DISCONNECTED.contains(&code)
}

/// READ COMMITTED, whatever the database's default, because rows must be read as they are after the
/// lease is locked. The commit waits for the disk, and with it everything that was committed
/// before: what is read here is durable before it is published. The plans are pinned, because to
/// the planner a queue that has just been emptied looks like a table of a few rows, and it would
/// drop the index. A relay whose process is frozen while it holds the lock of a shard loses the
/// connection after ten seconds, so that another one can take the shard. All of it ends with the
/// transaction, so it works behind a pooler.
const PREPARE: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; \
    SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit') \
        WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true), \
    set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true), \
    set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true), \
    set_config('plan_cache_mode', 'force_generic_plan', true), set_config('jit', 'off', true), \
    set_config('idle_in_transaction_session_timeout', '10s', true)";

/// The row lock or the write of the lease gives the transaction an id, without which its commit
/// would not wait for the disk.
fn renew_statement(renewal: Renewal<'_>) -> Statement {
    let Renewal {
        tables,
        lease,
        ttl,
        published,
        keep,
    } = renewal;
    let deletes = !published.is_empty();
    Sql::new(
        &Postgres,
        &format!("WITH lease AS (UPDATE {} SET expires_at = ", tables.shard()),
    )
    .after(ttl)
    .push(" WHERE shard = ")
    .bind(lease.shard)
    .push(" AND owner = ")
    .bind(lease.owner.0)
    .push(" AND epoch = ")
    .bind(lease.epoch)
    .push(" RETURNING revision)")
    .when(deletes, |sql| {
        sql.push(&format!(
            ", gone AS (DELETE FROM {} WHERE shard = ",
            tables.outbox()
        ))
        .bind(lease.shard)
        .push(" AND position")
        .one_of(published)
        .push(" AND EXISTS (SELECT 1 FROM lease)")
        .push(&if keep {
            keep_gone(tables)
        } else {
            ")".to_owned()
        })
    })
    .push(&format!(
        " SELECT revision, pg_current_xact_id()::text::bigint, \
             pg_snapshot_xmin(pg_current_snapshot())::text::bigint, {}, {} FROM lease",
        Postgres.last_position(tables).expect("PostgreSQL has one"),
        Postgres.history(tables).expect("PostgreSQL has one"),
    ))
    .build()
}

/// The end of the deletion, and that what it deleted is kept.
fn keep_gone(tables: &Tables) -> String {
    let columns = format!("shard, position, {MOVED}");
    format!(
        " RETURNING {columns}), kept AS (INSERT INTO {} ({columns}, published_at) SELECT \
         {columns}, clock_timestamp() FROM gone ON CONFLICT (event_id) DO NOTHING)",
        tables.published()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fatal_error_and_every_connection_exception_ends_the_connection() {
        use PgSeverity::{Error, Fatal, Panic};
        let last = [
            (Fatal, "08P01"),
            (Fatal, "57P01"),
            (Fatal, "25P04"),
            (Fatal, "XX000"),
            (Panic, "XX000"),
            (Error, "08006"),
            (Error, "08000"),
            (Error, "57P01"),
            (Error, "57P02"),
            (Error, "57P03"),
        ];
        for (severity, code) in last {
            assert!(ends_connection(severity, code), "{severity:?} {code}");
        }
        for code in [
            "23505", "40001", "40P01", "25P02", "25006", "57014", "55P03",
        ] {
            assert!(!ends_connection(Error, code), "{code}");
        }
    }
}
