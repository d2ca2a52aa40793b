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
mod renewal;
mod shards;
mod sql;
mod view;

use std::future::Future;
use std::mem::take;
use std::pin::Pin;

use bento_core::outbox::{OutboxEntry, ShardId};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement, TransactionOptions, Value};

pub(crate) use self::renewal::{Horizon, Renewal, Renewed};
pub(crate) use self::shards::ShardsUpdate;
pub(crate) use self::sql::Sql;

#[cfg(feature = "mysql")]
use crate::backend::MySql;
#[cfg(feature = "postgres")]
use crate::backend::Postgres;
#[cfg(feature = "sqlite")]
use crate::backend::Sqlite;
pub(crate) use crate::backend::is_refusal;
use crate::backend::{Backend, UnsupportedBackend, database_error};
use crate::entity::{MOVED, WRITTEN};
use crate::error::Error;
use crate::session::{Shielded, StoreTransaction};
use crate::tables::Tables;

/// A database as Bento uses it.
pub(crate) trait Dialect: Backend {
    /// The statements that create what is missing of the tables, in order. Each can be repeated.
    fn create_schema(&self, tables: &Tables) -> Vec<String>;

    /// The statements that drop what [`create_schema`](Self::create_schema) created.
    fn drop_schema(&self, tables: &Tables) -> Vec<String>;

    /// The statement that lets one process at a time migrate a schema, or what the session finds
    /// without one. It answers with 1, in the first column, when the lock is held.
    fn lock_migrations(&self, schema: Option<&str>) -> String;

    /// The statement that ends the lock of [`lock_migrations`](Self::lock_migrations), where the
    /// end of the transaction does not.
    fn unlock_migrations(&self, _schema: Option<&str>) -> Option<String> {
        None
    }

    /// Appends the placeholder of the parameter with this number, counted from 1.
    fn placeholder(&self, number: usize, sql: &mut String);

    /// What one INSERT may hold at most.
    fn insert_limits(&self) -> InsertLimits;

    /// The end of an INSERT into a table that leaves a row alone whose key is known.
    fn or_leave(&self, table: &str, key: &[&str]) -> String;

    /// The end of an INSERT that answers with this column of the rows it wrote; `None` where it
    /// would answer with those that were there as well, or not at all.
    fn returning(&self, column: &str) -> Option<String>;

    /// One INSERT for all the entries, built without copying their payloads.
    ///
    /// `values` is the text for as many rows in the form of multi-row VALUES, if that is what the
    /// back end wants. `end` ends the statement: what [`or_leave`](Self::or_leave) says, or
    /// nothing.
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

    /// The time now, by the database's clock.
    fn now(&self) -> &'static str;

    /// The same, read once for the whole statement, so that an index is searched up to it.
    fn now_once(&self) -> &'static str {
        self.now()
    }

    /// Appends the time so many microseconds from now, by the database's clock; before now for a
    /// negative number.
    fn after_micros(&self, placeholder: &str, sql: &mut String);

    /// How many microseconds from now, by the database's clock, the time in a column lies; negative
    /// for the past.
    fn micros_until(&self, column: &str) -> String;

    /// Appends a test whether what stands before is one of the numbers, in a text that does not
    /// change with their number.
    fn one_of(&self, numbers: Vec<i64>, sql: &mut String, values: &mut Vec<Value>);

    /// The begin and the end of a DELETE that ends after some rows; between them stands what a
    /// SELECT has behind its table.
    fn delete_some(&self, table: &str, key: &str) -> (String, &'static str) {
        (
            format!("DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table}"),
            ")",
        )
    }

    /// The begin of an UPDATE of shard rows, up to SET, that locks them in the order of the shards,
    /// and its end, from WHERE on without the condition: what stands between is what to set.
    /// Whoever locks several of these rows does so in that order.
    fn update_shards(&self, table: &str) -> ShardsUpdate;

    /// The end of a SELECT that locks the rows it finds, one after another.
    fn lock_rows(&self) -> &'static str {
        " FOR UPDATE"
    }

    /// The end of a SELECT that locks the rows it finds and passes over those that somebody has
    /// locked.
    fn lock_unlocked(&self) -> &'static str {
        " FOR UPDATE SKIP LOCKED"
    }

    /// A number that changes with the server, and when positions begin anew. Only for back ends
    /// with a [`Horizon`].
    fn history(&self, _tables: &Tables) -> Option<String> {
        None
    }

    /// The last position that was handed out, or one below it. Only for back ends with a
    /// [`history`](Self::history).
    fn last_position(&self, _tables: &Tables) -> Option<String> {
        None
    }

    /// A time as a parameter that compares with the times the database wrote: one that lies before
    /// the year 1000 or after 9999 is taken to be the first or the last moment of these years,
    /// which every back end holds.
    fn time(&self, time: DateTime<Utc>) -> Value {
        self.event_time(time.clamp(FIRST_TIME, LAST_TIME))
    }

    /// The time of an event as a parameter, to be stored.
    fn event_time(&self, time: DateTime<Utc>) -> Value {
        time.into()
    }

    /// How the relay's transactions begin.
    fn relay_transaction(&self) -> TransactionOptions;

    /// What the relay's transaction does first, if anything: several statements in one round trip.
    fn prepare_relay_transaction(&self) -> Option<&'static str> {
        None
    }

    /// Warns if the connection's commits do not wait for the disk, where the relay cannot see to it
    /// itself.
    fn warn_unless_durable<'a>(&'a self, _db: &'a Shielded) -> Warning<'a> {
        Box::pin(async { Ok(()) })
    }

    /// Warns if the connection leads through a pooler that does not follow prepared statements.
    fn warn_of_pooler<'a>(&'a self, _db: &'a Shielded) -> Warning<'a> {
        Box::pin(async { Ok(()) })
    }

    /// The advice to an operator whose setting is the reason of an error.
    fn advice(&self, _error: &dyn DatabaseError) -> Option<&'static str> {
        None
    }

    /// Checks and renews the lease, and deletes the rows of the outbox at these positions, or moves
    /// them to the published ones, if it is still held.
    fn renew<'a>(&'a self, tx: &'a StoreTransaction, renewal: Renewal<'a>) -> Renewing<'a>;

    /// A time as it is read: nothing where the driver could not read it.
    fn read_time(&self, column: &str) -> String {
        column.to_owned()
    }

    /// The columns of an event as they are read, in the order of [`WRITTEN`].
    fn read_columns(&self) -> String {
        let column = |column: &&str| match *column {
            "occurred_at" => self.read_time(column),
            column => column.to_owned(),
        };
        WRITTEN.iter().map(column).collect::<Vec<_>>().join(", ")
    }

    /// The number that each row of a table has beside its columns; `None` where every key can be
    /// read.
    fn row_number(&self) -> Option<&'static str> {
        None
    }

    /// Whatever stands in a column, as a text; `None` for bytes, which can always be read.
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

/// How many parameters a row of the outbox has: the shard and then [`WRITTEN`].
pub(crate) const PARAMETERS: usize = 1 + WRITTEN.len();

/// What one INSERT may hold at most.
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

/// Deletes rows of the outbox or moves them to the published ones, where that cannot be part of
/// another statement.
async fn settle_published(
    tx: &StoreTransaction,
    dialect: &'static dyn Dialect,
    tables: &Tables,
    shard: ShardId,
    positions: Vec<i64>,
    keep: bool,
) -> Result<(), DbErr> {
    if positions.is_empty() {
        return Ok(());
    }
    if keep {
        let from = |sql: Sql| sql.push(" AND position").one_of(positions.clone());
        tx.execute_raw(keep_published(dialect, tables, tables.outbox(), shard, from).build())
            .await?;
    }
    let delete = Sql::new(
        dialect,
        &format!("DELETE FROM {} WHERE shard = ", tables.outbox()),
    );
    tx.execute_raw(
        delete
            .bind(shard)
            .push(" AND position")
            .one_of(positions)
            .build(),
    )
    .await?;
    Ok(())
}

/// Copies rows of the shard to the published ones, each event once.
pub(crate) fn keep_published(
    dialect: &'static dyn Dialect,
    tables: &Tables,
    from: &str,
    shard: ShardId,
    which: impl FnOnce(Sql) -> Sql,
) -> Sql {
    let published = tables.published();
    let copy = format!(
        "INSERT INTO {published} (shard, position, {MOVED}, published_at) SELECT shard, position, \
         {MOVED}, {} FROM {from} WHERE shard = ",
        dialect.now()
    );
    which(Sql::new(dialect, &copy).bind(shard)).push(&dialect.or_leave(published, &["event_id"]))
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
    entries
        .into_iter()
        .for_each(|entry| row_values(entry, &mut parameters, &time));
    Statement::from_sql_and_values(backend, sql, parameters)
}

/// The parameters of one row of the outbox: the shard and then [`WRITTEN`].
pub(crate) fn row_values(
    mut entry: OutboxEntry,
    values: &mut Vec<Value>,
    time: impl Fn(DateTime<Utc>) -> Value,
) {
    values.extend((0..PARAMETERS).map(|parameter| take_value(&mut entry, parameter, &time)));
}

/// Moves one parameter of a row out of its entry, counted as in [`row_values`]. None is taken
/// twice.
pub(super) fn take_value(
    entry: &mut OutboxEntry,
    parameter: usize,
    time: impl Fn(DateTime<Utc>) -> Value,
) -> Value {
    let envelope = &mut entry.envelope;
    match parameter {
        0 => Value::Int(Some(entry.shard)),
        1 => Value::Uuid(Some(*envelope.event_id.as_uuid())),
        2 => Value::String(Some(take(&mut envelope.event_type).into_owned())),
        3 => Value::Int(Some(envelope.schema_version.cast_signed())),
        4 => Value::String(Some(take(&mut envelope.aggregate_type).into_owned())),
        5 => Value::String(Some(take(&mut envelope.aggregate_id))),
        6 => Value::BigInt(envelope.sequence),
        7 => text(envelope.tenant_id.take()),
        8 => text(envelope.topic.take()),
        9 => text(envelope.routing_key.take()),
        10 => bytes(take(&mut envelope.routing)),
        // No routing has version 0.
        11 => Value::Int(Some(envelope.routing_version.into()).filter(|&version| version > 0)),
        12 => time(envelope.occurred_at),
        13 => text(envelope.content_encoding.take()),
        14 => text(envelope.key_id.take()),
        15 => bytes(take(&mut envelope.headers)),
        16 => Value::Bytes(Some(take(&mut envelope.payload).into())),
        _ => unreachable!("a row has {PARAMETERS} parameters"),
    }
}

/// Optional text; the empty text is none.
fn text(text: Option<String>) -> Value {
    Value::String(text.filter(|text| !text.is_empty()))
}

/// Optional bytes; empty ones are none.
fn bytes(bytes: Bytes) -> Value {
    Value::Bytes((!bytes.is_empty()).then(|| bytes.into()))
}
