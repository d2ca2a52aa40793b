//! The columns of an event in every table, and the reading of an envelope from them.

mod cells;

use std::sync::Arc;

use bento_core::envelope::Envelope;
use bento_core::id::EventId;
use bento_core::limits;
use chrono::{DateTime, Datelike, Utc};
use sea_orm::{DbErr, QueryResult, TryGetable};
use uuid::Uuid;

/// The columns of an event that the business transaction writes, after `shard`, in the order of the
/// placeholders.
pub(crate) const WRITTEN: [&str; 16] = [
    "event_id",
    "event_type",
    "schema_version",
    "aggregate_type",
    "aggregate_id",
    "sequence",
    "tenant_id",
    "topic",
    "routing_key",
    "routing",
    "routing_version",
    "occurred_at",
    "content_encoding",
    "key_id",
    "headers",
    "payload",
];

/// Every column of an event but `shard` and `position`, as it moves between tables.
pub(crate) const MOVED: &str = "event_id, event_type, schema_version, aggregate_type, \
                                aggregate_id, sequence, tenant_id, topic, routing_key, routing, \
                                routing_version, occurred_at, content_encoding, key_id, headers, \
                                payload";

/// The columns that hold bytes.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(crate) const BYTES: [&str; 3] = ["routing", "headers", "payload"];

/// The columns [`WRITTEN`] as SQL, in the order in which [`envelope_at`] reads them; see also
/// [`Dialect::read_columns`](crate::dialect::Dialect::read_columns).
pub(crate) fn written_columns() -> String {
    WRITTEN.join(", ")
}

/// Reads an envelope from the columns [`WRITTEN`] that begin at `first`.
///
/// # Errors
/// The first cell that cannot be read.
pub(crate) fn envelope_at(row: &QueryResult, first: usize) -> Result<Envelope, DbErr> {
    #[cfg(feature = "postgres")]
    if let Some(row) = row.try_as_pg_row() {
        return cells::envelope(row, first);
    }
    #[cfg(feature = "mysql")]
    if let Some(row) = row.try_as_mysql_row() {
        return cells::envelope(row, first);
    }
    #[cfg(feature = "sqlite")]
    if let Some(row) = row.try_as_sqlite_row() {
        return cells::envelope(row, first);
    }
    Err(DbErr::Type(
        "the row is of no back end whose feature is enabled".into(),
    ))
}

/// Reads the readable cells of an envelope, with stand-ins for the rest that every table can hold.
/// The flag is true if every cell was read.
pub(crate) fn salvaged_at(row: &QueryResult, first: usize) -> (Envelope, bool) {
    if let Ok(envelope) = envelope_at(row, first)
        && limits::check_envelope(&envelope).is_ok()
    {
        return (envelope, true);
    }
    let of = Salvaged { row, first };
    let event_id = of.get::<Uuid>(0).map_or_else(EventId::new, EventId::from);
    let version = of.get::<i32>(2).unwrap_or_default().cast_unsigned();
    let time = of
        .get(11)
        .filter(|time: &DateTime<Utc>| (1000..=9999).contains(&time.year()))
        .unwrap_or_else(Utc::now);
    let mut envelope = Envelope::with_id(event_id, of.text(1, 190), version, time, of.bytes(15));
    // Half of a key would be the key of another aggregate.
    let key = (of.get::<String>(3), of.get::<String>(4));
    if let (Some(aggregate_type), Some(aggregate_id)) = key
        && limits::check_text("aggregate_type", &aggregate_type, 190).is_ok()
        && limits::check_text("aggregate_id", &aggregate_id, 255).is_ok()
    {
        (envelope.aggregate_type, envelope.aggregate_id) = (aggregate_type.into(), aggregate_id);
    }
    envelope.sequence = of.get(5);
    envelope.tenant_id = of.optional(6, limits::TENANT_ID);
    envelope.topic = of.optional(7, 255);
    envelope.routing_key = of.optional(8, 255);
    envelope.routing = of.bytes(9).into();
    envelope.routing_version = of
        .get::<i32>(10)
        .and_then(|version| version.try_into().ok())
        .unwrap_or_default();
    envelope.content_encoding = of.optional(12, 64);
    envelope.key_id = of.optional(13, 255);
    envelope.headers = of.bytes(14).into();
    (envelope, false)
}

/// The columns of a row some of which cannot be read.
struct Salvaged<'a> {
    row: &'a QueryResult,
    first: usize,
}

impl Salvaged<'_> {
    fn get<T: TryGetable>(&self, column: usize) -> Option<T> {
        self.row.try_get_by_index(self.first + column).ok()
    }

    fn bytes(&self, column: usize) -> Vec<u8> {
        self.get(column).unwrap_or_default()
    }

    fn text(&self, column: usize, limit: usize) -> String {
        lossy_at(self.row, self.first + column)
            .chars()
            .take(limit)
            .collect()
    }

    fn optional(&self, column: usize, limit: usize) -> Option<String> {
        Some(self.text(column, limit)).filter(|text| !text.is_empty())
    }
}

/// Reads a text, with replacement characters for invalid UTF-8; empty if it cannot be read.
pub(crate) fn lossy_at(row: &QueryResult, column: usize) -> String {
    let text = row.try_get_by_index::<String>(column);
    let text = text.or_else(|_| {
        row.try_get_by_index::<Vec<u8>>(column)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    });
    text.unwrap_or_default().replace('\0', "\u{fffd}")
}

/// The names of routes as they are stored: a JSON array, or NULL for none.
pub(crate) fn names(names: &[Arc<str>]) -> Option<String> {
    let texts: Vec<&str> = names.iter().map(|name| &**name).collect();
    (!texts.is_empty()).then(|| serde_json::Value::from(texts).to_string())
}

/// Reads what [`names`] stored in this column.
pub(crate) fn names_at(row: &QueryResult, column: usize) -> Result<Vec<Arc<str>>, DbErr> {
    let Some(text) = row.try_get_by_index::<Option<String>>(column)? else {
        return Ok(Vec::new());
    };
    let names: Vec<String> =
        serde_json::from_str(&text).map_err(|error| DbErr::Type(error.to_string()))?;
    Ok(names.into_iter().map(Into::into).collect())
}
