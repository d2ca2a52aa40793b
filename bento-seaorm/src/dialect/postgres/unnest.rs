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

use crate::dialect::{PARAMETERS, take_value};
use crate::entity::{WRITTEN, written_columns};
use crate::tables::Tables;

/// The value that stands for NULL in an array of sequences: sqlx's arrays hold no NULL through
/// SeaORM.
const NO_SEQUENCE: i64 = i64::MIN;
/// The same for the versions of routing, which are not negative.
const NO_VERSION: i32 = -1;

/// The form in which the values of a column are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Int,
    BigInt,
    Uuid,
    Text,
    Bytes,
    Time,
}

/// The columns in the order of the placeholders, and whether all events of a flush may share a
/// value.
const COLUMNS: [(Kind, bool); PARAMETERS] = [
    (Kind::Int, true),    // shard
    (Kind::Uuid, false),  // event_id
    (Kind::Text, true),   // event_type
    (Kind::Int, true),    // schema_version
    (Kind::Text, true),   // aggregate_type
    (Kind::Text, true),   // aggregate_id
    (Kind::BigInt, true), // sequence
    (Kind::Text, true),   // tenant_id
    (Kind::Text, true),   // topic
    (Kind::Text, true),   // routing_key
    (Kind::Bytes, true),  // routing
    (Kind::Int, true),    // routing_version
    (Kind::Time, false),  // occurred_at
    (Kind::Text, true),   // content_encoding
    (Kind::Text, true),   // key_id
    (Kind::Bytes, true),  // headers
    (Kind::Bytes, false), // payload
];

/// The statement that writes these entries in their order.
pub(super) fn insert(tables: &Tables, entries: Vec<OutboxEntry>, end: &str) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, sql(tables) + end, values(entries))
}

fn sql(tables: &Tables) -> String {
    let (mut select, mut arrays) = (String::new(), String::new());
    let mut shared = PARAMETERS;
    let names = std::iter::once("shard").chain(WRITTEN);
    for (nth, (name, (kind, may_be_shared))) in (1..).zip(names.zip(COLUMNS)) {
        let comma = if nth == 1 { "" } else { ", " };
        let of_array = match (name, kind) {
            ("sequence", _) => format!("NULLIF(u.sequence, {NO_SEQUENCE})"),
            ("routing_version", _) => format!("NULLIF(u.routing_version, {NO_VERSION})"),
            (_, Kind::Text | Kind::Bytes) if is_optional(name) => format!("NULLIF(u.{name}, '')"),
            _ => format!("u.{name}"),
        };
        let written = if may_be_shared {
            shared += 1;
            write!(
                select,
                "{comma}coalesce({of_array}, ${shared}::{})",
                kind.sql()
            )
        } else {
            write!(select, "{comma}{of_array}")
        };
        written
            .and_then(|()| write!(arrays, "{comma}${nth}::{}[]", kind.sql()))
            .expect("a String takes every text");
    }
    format!(
        "INSERT INTO {} (shard, {columns}) SELECT {select} FROM unnest({arrays}) WITH ORDINALITY \
         AS u (shard, {columns}, nth) ORDER BY u.nth",
        tables.outbox(),
        columns = written_columns(),
    )
}

/// True if NULL stands for an empty text in this column.
fn is_optional(column: &str) -> bool {
    !matches!(
        column,
        "event_type" | "aggregate_type" | "aggregate_id" | "payload"
    )
}

/// One array for each column, then one value for each that may be shared.
fn values(mut entries: Vec<OutboxEntry>) -> Vec<Value> {
    let mut arrays = Vec::with_capacity(2 * PARAMETERS);
    let mut shared = Vec::with_capacity(PARAMETERS);
    for (parameter, (kind, may_be_shared)) in COLUMNS.into_iter().enumerate() {
        let is_shared = may_be_shared && all_share(&entries, parameter);
        let array = match is_shared {
            true => Vec::new(),
            false => entries
                .iter_mut()
                .map(|entry| in_array(take_value(entry, parameter, Value::from)))
                .collect(),
        };
        arrays.push(Value::Array(kind.array(), Some(Box::new(array))));
        if is_shared {
            shared.push(take_value(&mut entries[0], parameter, Value::from));
        } else if may_be_shared {
            shared.push(kind.null());
        }
    }
    arrays.append(&mut shared);
    arrays
}

/// True if every entry has the value of the first one in this column.
fn all_share(entries: &[OutboxEntry], parameter: usize) -> bool {
    let [first, rest @ ..] = entries else {
        return false;
    };
    let is_same = |entry: &OutboxEntry| {
        let (one, other) = (&first.envelope, &entry.envelope);
        match parameter {
            0 => first.shard == entry.shard,
            2 => one.event_type == other.event_type,
            3 => one.schema_version == other.schema_version,
            4 => one.aggregate_type == other.aggregate_type,
            5 => one.aggregate_id == other.aggregate_id,
            6 => one.sequence.is_none() && other.sequence.is_none(),
            7 => one.tenant_id == other.tenant_id,
            8 => one.topic == other.topic,
            9 => one.routing_key == other.routing_key,
            10 => one.routing == other.routing,
            11 => one.routing_version == other.routing_version,
            13 => one.content_encoding == other.content_encoding,
            14 => one.key_id == other.key_id,
            15 => one.headers == other.headers,
            _ => false,
        }
    };
    rest.iter().all(is_same)
}

impl Kind {
    fn sql(self) -> &'static str {
        match self {
            Self::Int => "integer",
            Self::BigInt => "bigint",
            Self::Uuid => "uuid",
            Self::Text => "text",
            Self::Bytes => "bytea",
            Self::Time => "timestamptz",
        }
    }

    fn array(self) -> ArrayType {
        match self {
            Self::Int => ArrayType::Int,
            Self::BigInt => ArrayType::BigInt,
            Self::Uuid => ArrayType::Uuid,
            Self::Text => ArrayType::String,
            Self::Bytes => ArrayType::Bytes,
            Self::Time => ArrayType::ChronoDateTimeUtc,
        }
    }

    fn null(self) -> Value {
        match self {
            Self::Int => Value::Int(None),
            Self::BigInt => Value::BigInt(None),
            Self::Uuid => Value::Uuid(None),
            Self::Text => Value::String(None),
            Self::Bytes => Value::Bytes(None),
            Self::Time => Value::ChronoDateTimeUtc(None),
        }
    }
}

/// The value as an array holds it, with what stands for NULL.
fn in_array(value: Value) -> Value {
    match value {
        Value::Int(None) => Value::Int(Some(NO_VERSION)),
        Value::BigInt(None) => Value::BigInt(Some(NO_SEQUENCE)),
        Value::String(None) => Value::String(Some(String::new())),
        Value::Bytes(None) => Value::Bytes(Some(Vec::new())),
        value => value,
    }
}
