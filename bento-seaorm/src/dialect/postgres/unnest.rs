//! One INSERT of many events: an array for each column, or one value where all events have the
//! same.
//!
//! SeaORM copies each value of an array. Most columns of a flush hold the same for every event, so
//! they are sent once: their array is empty, which UNNEST fills up with NULL, and the value stands
//! in for it.

use std::fmt::Write as _;

use bento_core::outbox::OutboxEntry;
use sea_orm::sea_query::ArrayType;
use sea_orm::{DbBackend, Statement, Value};

use super::schema::sql_type;
use crate::columns::{self, COLUMNS, Column, Kind, PARAMETERS};
use crate::tables::Tables;

/// The value that stands for NULL in an array of numbers: sqlx's arrays hold no NULL through
/// SeaORM.
const NO_BIG_INT: i64 = i64::MIN;
/// The same for smaller numbers, none of which is negative.
const NO_INT: i32 = -1;

/// The statement that writes these entries in their order.
pub(super) fn insert(tables: &Tables, entries: Vec<OutboxEntry>, end: &str) -> Statement {
    let sql = format!(
        "INSERT INTO {} (shard, {}) {} ORDER BY u.nth{end}",
        tables.outbox(),
        columns::list(),
        select(""),
    );
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values(entries))
}

/// The rows of the outbox that [`values`] make. `more` is read beside their columns; `u.nth` is the
/// place of a row.
pub(super) fn select(more: &str) -> String {
    let (mut select, mut arrays) = (String::new(), String::new());
    let mut shared = PARAMETERS;
    let mut add = |nth: usize, of_array: String, kind: Kind, may_be_shared: bool| {
        let (comma, kind) = (if nth == 1 { "" } else { ", " }, sql_type(kind));
        let written = if may_be_shared {
            shared += 1;
            write!(select, "{comma}coalesce({of_array}, ${shared}::{kind})")
        } else {
            write!(select, "{comma}{of_array}")
        };
        written
            .and_then(|()| write!(arrays, "{comma}${nth}::{kind}[]"))
            .expect("a String takes every text");
    };
    add(1, "u.shard".to_owned(), Kind::Int, true);
    for (nth, column) in (2..).zip(&COLUMNS) {
        add(nth, of_array(column), column.kind, column.is_same.is_some());
    }
    format!(
        "SELECT {select}{more} FROM unnest({arrays}) WITH ORDINALITY AS u (shard, {}, nth)",
        columns::list(),
    )
}

/// The value of a column out of its array, with NULL again for what stands for it.
fn of_array(column: &Column) -> String {
    let name = column.name;
    match column.kind {
        _ if !column.is_optional => format!("u.{name}"),
        Kind::BigInt => format!("NULLIF(u.{name}, {NO_BIG_INT})"),
        Kind::Int => format!("NULLIF(u.{name}, {NO_INT})"),
        Kind::Text(_) | Kind::Bytes => format!("NULLIF(u.{name}, '')"),
        Kind::Uuid | Kind::Time => unreachable!("no value stands for NULL in `{name}`"),
    }
}

/// One array for each column, then one value for each that may be shared.
pub(super) fn values(mut entries: Vec<OutboxEntry>) -> Vec<Value> {
    let mut arrays = Vec::with_capacity(2 * PARAMETERS);
    let mut shared = Vec::with_capacity(PARAMETERS);
    let mut add = |entries: &mut [OutboxEntry], column: Sent<'_>| {
        // An empty array is filled up with NULL by UNNEST; the shared value stands in for it.
        let is_shared = column.is_shared(entries);
        let array = match is_shared {
            true => Vec::new(),
            false => {
                let value = |entry| in_array(column.take(entry));
                entries.iter_mut().map(value).collect()
            }
        };
        let kind = column.kind();
        arrays.push(Value::Array(array_type(kind), Some(Box::new(array))));
        if is_shared {
            shared.push(column.take(&mut entries[0]));
        } else if column.may_be_shared() {
            shared.push(null(kind));
        }
    };
    add(&mut entries, Sent::Shard);
    for column in &COLUMNS {
        add(&mut entries, Sent::Event(column));
    }
    arrays.append(&mut shared);
    arrays
}

/// A column of a row of the outbox.
#[derive(Clone, Copy)]
enum Sent<'a> {
    Shard,
    Event(&'a Column),
}

impl Sent<'_> {
    fn kind(self) -> Kind {
        match self {
            Self::Shard => Kind::Int,
            Self::Event(column) => column.kind,
        }
    }

    fn take(self, entry: &mut OutboxEntry) -> Value {
        match self {
            Self::Shard => Value::Int(Some(entry.shard)),
            Self::Event(column) => column.take(&mut entry.envelope),
        }
    }

    fn may_be_shared(self) -> bool {
        match self {
            Self::Shard => true,
            Self::Event(column) => column.is_same.is_some(),
        }
    }

    /// True if every entry has the value of the first one in this column.
    fn is_shared(self, entries: &[OutboxEntry]) -> bool {
        let [first, rest @ ..] = entries else {
            return false;
        };
        match self {
            Self::Shard => rest.iter().all(|entry| entry.shard == first.shard),
            Self::Event(column) => column.is_same.is_some_and(|is_same| {
                rest.iter()
                    .all(|entry| is_same(&first.envelope, &entry.envelope))
            }),
        }
    }
}

fn array_type(kind: Kind) -> ArrayType {
    match kind {
        Kind::Int => ArrayType::Int,
        Kind::BigInt => ArrayType::BigInt,
        Kind::Uuid => ArrayType::Uuid,
        Kind::Text(_) => ArrayType::String,
        Kind::Bytes => ArrayType::Bytes,
        Kind::Time => ArrayType::ChronoDateTimeUtc,
    }
}

fn null(kind: Kind) -> Value {
    match kind {
        Kind::Int => Value::Int(None),
        Kind::BigInt => Value::BigInt(None),
        Kind::Uuid => Value::Uuid(None),
        Kind::Text(_) => Value::String(None),
        Kind::Bytes => Value::Bytes(None),
        Kind::Time => Value::ChronoDateTimeUtc(None),
    }
}

/// The value as an array holds it, with what stands for NULL.
fn in_array(value: Value) -> Value {
    match value {
        Value::Int(None) => Value::Int(Some(NO_INT)),
        Value::BigInt(None) => Value::BigInt(Some(NO_BIG_INT)),
        Value::String(None) => Value::String(Some(String::new())),
        Value::Bytes(None) => Value::Bytes(Some(Vec::new())),
        value => value,
    }
}
