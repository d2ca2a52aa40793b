//! PostgreSQL 13 and later.

mod append;
mod difference;
mod pooler;
mod projection;
mod schema;
mod unnest;

use std::time::Duration;

use bento_core::outbox::OutboxEntry;
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::{ConnectionTrait, DbBackend, Statement, TransactionOptions, Value};
use uuid::Uuid;

use super::{
    Dialect, Horizon, InsertLimits, LockLimit, Renewal, Renewed, Renewing, Sql, Warning, after,
    any_of, any_of_ids, binds, insert_values,
};
use crate::backend::Postgres;
use crate::checkpoint::{Checkpoint, Checkpoints, Gap, ProjectionKey};
use crate::columns;
use crate::session::{Shielded, StoreTransaction};
use crate::stream::{Head, PageOf};
use crate::tables::Tables;

/// The number of rows up to which multi-row VALUES is used instead of UNNEST. It is faster up to
/// about 50 rows, but each number of rows is a statement that every connection keeps prepared.
const VALUES_UP_TO: usize = 20;

/// The number of microseconds that stands for infinity.
const FAR_AWAY: i64 = 1 << 60;

impl Dialect for Postgres {
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
        let mut statements = match tables.have_a_direction() {
            false => Vec::new(),
            true => vec![
                format!("DROP VIEW IF EXISTS {}", tables.status()),
                format!("DROP FUNCTION IF EXISTS {}(bytea)", tables.as_json()),
            ],
        };
        statements.extend(
            self.all_tables(tables)
                .iter()
                .map(|table| format!("DROP TABLE IF EXISTS {table}")),
        );
        // Projections have no positions of their own.
        if !tables.is_projections() {
            statements.push(format!("DROP SEQUENCE IF EXISTS {}", tables.positions()));
        }
        statements
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

    fn append(
        &self,
        tables: &Tables,
        head: &Head,
        entries: Vec<OutboxEntry>,
    ) -> Result<Statement, Vec<OutboxEntry>> {
        Ok(append::append(tables, head, entries))
    }

    fn reads_differences(&self) -> bool {
        true
    }

    fn before_view(&self) -> Option<&'static str> {
        Some("SET LOCAL lock_timeout = '1s'")
    }

    fn read_checkpoints(&self, of: Checkpoints<'_>) -> Statement {
        projection::read_checkpoints(of)
    }

    fn write_checkpoints(
        &self,
        tables: &Tables,
        key: &ProjectionKey,
        checkpoints: Vec<Checkpoint>,
    ) -> Statement {
        projection::write_checkpoints(tables, key, checkpoints)
    }

    fn events_in(
        &self,
        tables: &Tables,
        gaps: &[Gap],
        types: Option<&[String]>,
        limit: u64,
    ) -> Statement {
        projection::events_in(tables, gaps, types, limit)
    }

    fn delete_events(&self, tables: &Tables, ids: Vec<Uuid>) -> Statement {
        let delete = "DELETE FROM {outbox} WHERE event_id IN (?)";
        Sql::new(&Postgres, tables, delete, [any_of_ids(ids)]).build()
    }

    fn page_of_events(&self, page: PageOf<'_>) -> Statement {
        difference::page(page)
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

    fn one_of_ids(&self, ids: Vec<Uuid>, sql: &mut String, values: &mut Vec<Value>) {
        values.push(ids.into());
        sql.push_str(" = ANY(");
        self.placeholder(values.len(), sql);
        sql.push_str("::uuid[])");
    }

    fn one_of_texts(&self, texts: Vec<String>, sql: &mut String, values: &mut Vec<Value>) {
        values.push(texts.into());
        sql.push_str(" = ANY(");
        self.placeholder(values.len(), sql);
        sql.push_str("::text[])");
    }

    /// An UPDATE locks rows in the order of its scan, which is undefined. The subquery locks them
    /// first, and is evaluated once.
    fn update_shards(&self, set: &str, condition: &str) -> String {
        format!(
            "UPDATE {{shard}} SET {set} WHERE shard = ANY(ARRAY(\
             SELECT shard FROM {{shard}} WHERE {condition} ORDER BY shard FOR UPDATE))"
        )
    }

    /// After a failover to a standby that lacks the last commits, positions are handed out again
    /// that the relay has passed; after TRUNCATE … RESTART IDENTITY all of them are. Another server
    /// started at another time, and a sequence that is restarted gets another file.
    fn history(&self, tables: &Tables) -> Option<String> {
        let sequence = tables.positions();
        Some(format!(
            "hashtextextended(concat_ws(' ', extract(epoch FROM pg_postmaster_start_time()), \
             pg_relation_filenode('{sequence}'::regclass)), 0)"
        ))
    }

    fn last_position(&self, tables: &Tables) -> Option<String> {
        let sequence = tables.positions();
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

    fn lock_within(&self, wait: Duration) -> LockLimit {
        LockLimit {
            before: Some(format!(
                "SET LOCAL lock_timeout = {}",
                wait.as_millis().max(1)
            )),
            end: self.lock_rows().to_owned(),
            behind: Some("SET LOCAL lock_timeout TO DEFAULT"),
        }
    }

    fn prepare_handler_transaction(&self, idle: Duration) -> Option<String> {
        let idle = idle.as_millis();
        Some(format!(
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; \
             SET LOCAL idle_in_transaction_session_timeout = {idle}"
        ))
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

    /// The sum of large numbers is a `numeric`.
    fn sum(&self, column: &str) -> String {
        format!("SUM({column})::bigint")
    }

    /// The driver panics at a time that is infinite, or beyond the calendar of chrono.
    fn read_time(&self, column: &str) -> String {
        format!(
            "CASE WHEN isfinite({column}) AND {column} < '200000-01-01 00:00:00Z' THEN {column} END"
        )
    }

    fn shown(&self, column: &str) -> Option<String> {
        (!columns::is_bytes(column)).then(|| format!("{column}::text"))
    }
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
    let lease_is_held = "WITH lease AS (UPDATE {shard} SET expires_at = ? \
        WHERE shard = ? AND owner = ? AND epoch = ? RETURNING revision)";
    let mut sql = Sql::new(
        &Postgres,
        tables,
        lease_is_held,
        binds![after(ttl), lease.shard, lease.owner.0, lease.epoch],
    );
    if !published.is_empty() {
        let gone = ", gone AS (DELETE FROM {outbox} WHERE shard = ? AND position IN (?) \
            AND EXISTS (SELECT 1 FROM lease)";
        sql = sql.then(gone, binds![lease.shard, any_of(published)]);
        sql = sql.then(if keep { KEEP_GONE } else { ")" }, []);
    }
    let horizon = format!(
        " SELECT revision, pg_current_xact_id()::text::bigint, \
         pg_snapshot_xmin(pg_current_snapshot())::text::bigint, {}, {} FROM lease",
        Postgres.last_position(tables).expect("PostgreSQL has one"),
        Postgres.history(tables).expect("PostgreSQL has one"),
    );
    sql.then(&horizon, []).build()
}

/// The end of the deletion, and the INSERT that keeps the deleted rows.
const KEEP_GONE: &str = " RETURNING shard, position, {event}), \
    kept AS (INSERT INTO {published} (shard, position, {event}, published_at) \
    SELECT shard, position, {event}, clock_timestamp() FROM gone \
    ON CONFLICT (event_id) DO NOTHING)";
