//! The SQL of each back end. [`backend`](crate::backend) holds what else differs between them.
#![cfg_attr(
    not(all(feature = "postgres", feature = "mysql", feature = "sqlite")),
    allow(dead_code, reason = "each back end uses its own part")
)]

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

mod indexes;
mod pending;
mod projecting;
mod renewal;
mod sql;
mod versions;
mod view;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bento_core::outbox::OutboxEntry;
use chrono::{DateTime, Utc};
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::{DbBackend, DbErr, Statement, TransactionOptions, Value};
use uuid::Uuid;

pub(crate) use self::pending::{delete_pending, keep_pending};
pub(crate) use self::renewal::{Horizon, LockLimit, Renewal, Renewed};
pub(crate) use self::sql::{
    Bind, Sql, after, any_of, any_of_ids, any_of_texts, before, binds, in_list, marks,
};

#[cfg(feature = "mysql")]
use crate::backend::MySql;
#[cfg(feature = "postgres")]
use crate::backend::Postgres;
#[cfg(feature = "sqlite")]
use crate::backend::Sqlite;
use crate::backend::{Backend, UnsupportedBackend, database_error};
use crate::checkpoint::{Checkpoint, Checkpoints, Gap, ProjectionKey};
use crate::columns::{PARAMETERS, row_values};
use crate::error::Error;
use crate::session::{Shielded, StoreTransaction};
use crate::stream::{Head, PageOf};
use crate::tables::Tables;

/// The SQL of a back end.
pub(crate) trait Dialect: Backend {
    /// The statements that create the missing tables, indexes and views, in order. Each can be
    /// repeated.
    fn create_schema(&self, tables: &Tables) -> Vec<String>;

    /// The statements that drop everything that [`create_schema`](Self::create_schema) creates.
    fn drop_schema(&self, tables: &Tables) -> Vec<String>;

    /// Every table of one side, in the order in which they can be dropped.
    fn all_tables<'a>(&self, tables: &'a Tables) -> Vec<&'a str> {
        tables.all()
    }

    /// The statement that lets one process at a time migrate a schema, or the default schema of the
    /// session. It answers with 1 in the first column when the lock is held.
    fn lock_migrations(&self, schema: Option<&str>) -> String;

    /// The statement that ends the lock of [`lock_migrations`](Self::lock_migrations), where the
    /// end of the transaction does not.
    fn unlock_migrations(&self, _schema: Option<&str>) -> Option<String> {
        None
    }

    /// Appends the placeholder of the parameter with this number, counted from 1.
    fn placeholder(&self, number: usize, sql: &mut String);

    /// The limits of one INSERT.
    fn insert_limits(&self) -> InsertLimits;

    /// The query for the largest number of bytes that a statement may have, where the server has a
    /// setting for it: it ends the connection at a larger one, instead of an answer.
    fn largest_statement(&self) -> Option<&'static str> {
        None
    }

    /// The end of an INSERT into a table that skips a row whose key exists.
    fn or_leave(&self, table: &str, key: &[&str]) -> String;

    /// The end of an INSERT that writes these columns, in this order, into a row whose key exists,
    /// if the condition holds for it; else the row is left. With
    /// [`returning`](Self::returning) the INSERT answers with the rows that it has written.
    fn or_replace_if(
        &self,
        _table: &str,
        key: &[&str],
        columns: &[&str],
        condition: &str,
    ) -> String {
        let key = key.join(", ");
        let set = columns
            .iter()
            .map(|column| format!("{column} = excluded.{column}"));
        let set = set.collect::<Vec<_>>().join(", ");
        format!(" ON CONFLICT ({key}) DO UPDATE SET {set} WHERE {condition}")
    }

    /// True for the error of an INSERT if the key existed and the transaction goes on.
    fn is_duplicate(&self, _error: &DbErr) -> bool {
        false
    }

    /// The end of an INSERT that answers with this column of the rows it has written; `None` where
    /// the back end would answer with skipped rows too, or cannot answer.
    fn returning(&self, column: &str) -> Option<String>;

    /// One INSERT for all the entries, built without copying their payloads.
    ///
    /// `values` makes the text for a number of rows in the form of multi-row VALUES, for back ends
    /// that want it. `end` is the end of the statement: that of [`or_leave`](Self::or_leave), or
    /// the empty text.
    fn insert(
        &self,
        _tables: &Tables,
        entries: Vec<OutboxEntry>,
        end: &str,
        values: &dyn Fn(usize) -> String,
    ) -> Statement {
        insert_values(self.backend(), entries, end, values, |time| {
            self.event_time(time)
        })
    }

    /// One statement that raises the head of an aggregate and, if it did, writes the entries to the
    /// outbox and the events among them to the store; returns the entries where the back end needs
    /// several. It has written no row if the head is another one.
    ///
    /// # Errors
    /// The entries.
    fn append(
        &self,
        _tables: &Tables,
        _head: &Head,
        entries: Vec<OutboxEntry>,
    ) -> Result<Statement, Vec<OutboxEntry>> {
        Err(entries)
    }

    /// True if an append notes its events in the log of all events, because the database says
    /// nothing of the order of commits.
    fn logs_events(&self) -> bool {
        false
    }

    /// True if a column has one type in all rows of a statement.
    fn types_columns(&self) -> bool {
        true
    }

    /// True if positions are not in the order of the commits, and all events are read as
    /// differences of snapshots of the database.
    fn reads_differences(&self) -> bool {
        false
    }

    /// The query for a page of events by their positions: the position, then the event. Where
    /// [differences](Self::reads_differences) are read, the later snapshot and a flag stand before
    /// them: the flag is true if a snapshot or an event is of another server. Without an event the
    /// answer is one row then, whose position is NULL.
    fn page_of_events(&self, page: PageOf<'_>) -> Statement;

    /// The query for each pair of event type and version that is stored. It goes along an index
    /// from pair to pair, and reads no event between two of them.
    fn stored_versions(&self) -> &'static str {
        versions::STORED
    }

    /// The time now, by the database's clock.
    fn now(&self) -> &'static str;

    /// The same time, read once for the whole statement, so that an index can be searched up to it.
    fn now_once(&self) -> &'static str {
        self.now()
    }

    /// Appends the time that lies a number of microseconds from now, by the database's clock; a
    /// negative number lies in the past.
    fn after_micros(&self, placeholder: &str, sql: &mut String);

    /// The microseconds from now to the time in a column, by the database's clock; negative for the
    /// past.
    fn micros_until(&self, column: &str) -> String;

    /// Appends a test if the expression before it is one of the numbers. The text does not depend
    /// on how many there are.
    fn one_of(&self, numbers: Vec<i64>, sql: &mut String, values: &mut Vec<Value>);

    /// As [`one_of`](Self::one_of), for ids.
    fn one_of_ids(&self, ids: Vec<Uuid>, sql: &mut String, values: &mut Vec<Value>) {
        in_list(ids, sql, values);
    }

    /// As [`one_of`](Self::one_of), for texts.
    fn one_of_texts(&self, texts: Vec<String>, sql: &mut String, values: &mut Vec<Value>) {
        in_list(texts, sql, values);
    }

    /// A name in the quotes of the back end.
    fn quoted(&self, name: &str) -> String {
        format!("\"{name}\"")
    }

    /// The statements that show a table in a view, whose columns may be others than before.
    fn replace_view(&self, view: &str, table: &str) -> Vec<String> {
        let (view, table) = (self.quoted(view), self.quoted(table));
        let drop = format!("DROP VIEW IF EXISTS {view}");
        vec![drop, format!("CREATE VIEW {view} AS SELECT * FROM {table}")]
    }

    /// The statement that limits the wait for a view to a second, if a reader is waited for.
    fn before_view(&self) -> Option<&'static str> {
        None
    }

    /// The statement that ends this limit, where the end of the transaction does not.
    fn after_view(&self) -> Option<&'static str> {
        None
    }

    /// The query for the checkpoints of aggregates of one type: their keys and numbers.
    fn read_checkpoints(&self, of: Checkpoints<'_>) -> Statement;

    /// The writing of checkpoints of a projection, each of another aggregate.
    fn write_checkpoints(
        &self,
        tables: &Tables,
        key: &ProjectionKey,
        checkpoints: Vec<Checkpoint>,
    ) -> Statement;

    /// The query for the stored events of these types in gaps, those of an aggregate in order.
    fn events_in(
        &self,
        tables: &Tables,
        gaps: &[Gap],
        types: Option<&[String]>,
        limit: u64,
    ) -> Statement;

    /// The text of a DELETE of a limited number of rows. `rows` are the clauses that a SELECT of
    /// them has after its table.
    fn delete_some(&self, table: &str, key: &str, rows: &str) -> String {
        format!("DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} {rows})")
    }

    /// The deletion of pending events by their ids.
    fn delete_events(&self, tables: &Tables, ids: Vec<Uuid>) -> Statement;

    /// The text of an UPDATE of shard rows that locks them in the order of the shards. Every
    /// statement that locks several of these rows locks them in that order.
    fn update_shards(&self, set: &str, condition: &str) -> String;

    /// The end of a SELECT that locks the rows it finds, one after another.
    fn lock_rows(&self) -> &'static str {
        " FOR UPDATE"
    }

    /// The same, with a limit of the time for which it waits for them, where the database has one.
    fn lock_within(&self, _wait: Duration) -> LockLimit {
        LockLimit::none(self.lock_rows())
    }

    /// The end of a SELECT that locks the rows it finds, and skips rows that are locked.
    fn lock_unlocked(&self) -> &'static str {
        " FOR UPDATE SKIP LOCKED"
    }

    /// A number that changes when another server answers, and when positions start again. Only for
    /// back ends with a [`Horizon`].
    fn history(&self, _tables: &Tables) -> Option<String> {
        None
    }

    /// The last position that was handed out, or one below it. Only for back ends with a
    /// [`history`](Self::history).
    fn last_position(&self, _tables: &Tables) -> Option<String> {
        None
    }

    /// A time as a parameter that compares with the times that the database wrote. A time outside
    /// the years 1000 to 9999, which every back end holds, becomes the first or the last moment of
    /// them.
    fn time(&self, time: DateTime<Utc>) -> Value {
        self.event_time(time.clamp(FIRST_TIME, LAST_TIME))
    }

    /// A time as a parameter that compares with the times of stored events.
    fn moment(&self, time: DateTime<Utc>) -> Value {
        self.event_time(time.clamp(FIRST_TIME, LAST_TIME))
    }

    /// The time of an event as a parameter, to be stored.
    fn event_time(&self, time: DateTime<Utc>) -> Value {
        time.into()
    }

    /// The options of the relay's transactions.
    fn relay_transaction(&self) -> TransactionOptions;

    /// The first statements of the relay's transaction, in one round trip; `None` where it needs
    /// none.
    fn prepare_relay_transaction(&self) -> Option<&'static str> {
        None
    }

    /// The first statements of a handler's transaction, in one round trip: it ends by itself when
    /// its session is idle for longer than this, because its process is frozen. `None` where the
    /// database has no such limit.
    fn prepare_handler_transaction(&self, _idle: Duration) -> Option<String> {
        None
    }

    /// The statement that lifts the limit of an earlier handler's transaction from its session.
    /// `None` where the limit ends with the transaction.
    fn lift_idle_limit(&self) -> Option<&'static str> {
        None
    }

    /// The options of a handler's transactions.
    fn handler_transaction(&self) -> TransactionOptions {
        self.relay_transaction()
    }

    /// Warns if the connection's commits do not wait for the disk, where the relay cannot change
    /// that itself.
    fn warn_unless_durable<'a>(&'a self, _db: &'a Shielded) -> Warning<'a> {
        Box::pin(async { Ok(()) })
    }

    /// Warns if the connection leads through a pooler that does not follow prepared statements.
    fn warn_of_pooler<'a>(&'a self, _db: &'a Shielded) -> Warning<'a> {
        Box::pin(async { Ok(()) })
    }

    /// The advice to an operator, if a setting is the reason of the error.
    fn advice(&self, _error: &dyn DatabaseError) -> Option<&'static str> {
        None
    }

    /// Renews the lease if it is still held, and then deletes the rows of the outbox at these
    /// positions, or moves them to the published ones.
    fn renew<'a>(&'a self, tx: &'a StoreTransaction, renewal: Renewal<'a>) -> Renewing<'a>;

    /// The sum of a column of whole numbers, as a whole number.
    fn sum(&self, column: &str) -> String {
        format!("SUM({column})")
    }

    /// A time as it is read: NULL where the driver cannot read it.
    fn read_time(&self, column: &str) -> String {
        column.to_owned()
    }

    /// The row number that each row of a table has beside its columns; `None` where every key can
    /// be read.
    fn row_number(&self) -> Option<&'static str> {
        None
    }

    /// The content of a column as text; `None` for bytes, which can always be read.
    fn shown(&self, column: &str) -> Option<String>;
}

/// The answer of [`Dialect::renew`]: nothing if the lease is lost.
pub(crate) type Renewing<'a> =
    Pin<Box<dyn Future<Output = Result<Option<Renewed>, DbErr>> + Send + 'a>>;

/// The answer of [`Dialect::warn_unless_durable`].
pub(crate) type Warning<'a> = Pin<Box<dyn Future<Output = Result<(), DbErr>> + Send + 'a>>;

/// 1000-01-01 00:00:00 UTC, the first moment that a DATETIME of MySQL holds.
pub(crate) const FIRST_TIME: DateTime<Utc> =
    DateTime::from_timestamp(-30_610_224_000, 0).expect("chrono goes back further");
/// 9999-12-31 23:59:59.999999 UTC, the last moment that a DATETIME(6) of MySQL holds.
pub(crate) const LAST_TIME: DateTime<Utc> =
    DateTime::from_timestamp(253_402_300_799, 999_999_000).expect("chrono goes further");

/// The limits of one INSERT.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InsertLimits {
    /// Rows.
    pub(crate) rows: usize,
    /// Bytes of payloads, headers and routing.
    pub(crate) bytes: usize,
}

/// The dialect of a back end.
///
/// # Errors
/// [`UnsupportedBackend`] if its cargo feature is off.
pub(crate) fn of(backend: DbBackend) -> Result<&'static dyn Dialect, UnsupportedBackend> {
    match backend {
        #[cfg(feature = "postgres")]
        DbBackend::Postgres => Ok(&Postgres),
        #[cfg(feature = "mysql")]
        DbBackend::MySql => Ok(&MySql),
        #[cfg(feature = "sqlite")]
        DbBackend::Sqlite => Ok(&Sqlite),
        #[allow(
            unreachable_patterns,
            reason = "reachable as soon as one feature is off"
        )]
        _ => Err(UnsupportedBackend { backend }),
    }
}

/// The dialect of a back end that these tables can be on.
///
/// # Errors
/// [`Error::UnsupportedBackend`], and [`Error::NoSchemas`] if they are in a schema and the back end
/// has none.
pub(crate) fn for_tables(
    backend: DbBackend,
    tables: &Tables,
) -> Result<&'static dyn Dialect, Error> {
    let dialect = of(backend)?;
    match (tables.prefix().schema(), dialect.schema_quote()) {
        (Some(schema), None) => Err(Error::NoSchemas {
            backend,
            schema: schema.to_owned(),
        }),
        _ => Ok(dialect),
    }
}

/// The advice to an operator whose setting is the reason of an error.
pub(crate) fn advice(backend: DbBackend, error: &DbErr) -> Option<&'static str> {
    of(backend).ok()?.advice(database_error(error)?)
}

/// `n` placeholders for each of `rows` rows: `($1, $2), ($3, $4)`.
pub(crate) fn rows_of_placeholders(dialect: &dyn Dialect, rows: usize, columns: usize) -> String {
    let mut sql = String::with_capacity(rows * (columns * 6 + 4));
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            if column > 0 {
                sql.push_str(", ");
            }
            dialect.placeholder(row * columns + column + 1, &mut sql);
        }
        sql.push(')');
    }
    sql
}

/// One INSERT in the form of multi-row VALUES.
fn insert_values(
    backend: DbBackend,
    entries: Vec<OutboxEntry>,
    end: &str,
    values: &dyn Fn(usize) -> String,
    time: impl Fn(DateTime<Utc>) -> Value,
) -> Statement {
    let sql = values(entries.len()) + end;
    let mut parameters = Vec::with_capacity(entries.len() * PARAMETERS);
    for entry in entries {
        parameters.extend(row_values(entry, &time));
    }
    Statement::from_sql_and_values(backend, sql, parameters)
}
