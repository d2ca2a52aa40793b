//! The columns an event has in every table, and how an envelope is read from them.

use std::sync::Arc;

use bento_core::envelope::Envelope;
use chrono::{DateTime, Utc};
use sea_orm::{DbErr, QueryResult};
use uuid::Uuid;

/// What the business transaction writes of an event, in the order of the placeholders, after `shard`.
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
pub(crate) const MOVED: &str = "event_id, event_type, schema_version, aggregate_type, aggregate_id, sequence, tenant_id, \
     topic, routing_key, routing, routing_version, occurred_at, content_encoding, key_id, headers, payload";

/// What is read of an event, in the order in which [`envelope_at`] expects it.
pub(crate) fn written_columns() -> String {
    WRITTEN.join(", ")
}

/// Reads an envelope from the columns [`WRITTEN`] that begin at `first`.
pub(crate) fn envelope_at(row: &QueryResult, first: usize) -> Result<Envelope, DbErr> {
    let event_id: Uuid = row.try_get_by_index(first)?;
    let event_type: String = row.try_get_by_index(first + 1)?;
    let schema_version: i32 = row.try_get_by_index(first + 2)?;
    let occurred_at: DateTime<Utc> = row.try_get_by_index(first + 11)?;
    let payload: Vec<u8> = row.try_get_by_index(first + 15)?;
    let version = schema_version.cast_unsigned();
    let mut envelope = Envelope::with_id(event_id.into(), event_type, version, occurred_at, payload);
    envelope.aggregate_type = row.try_get_by_index::<String>(first + 3)?.into();
    envelope.aggregate_id = row.try_get_by_index(first + 4)?;
    envelope.sequence = row.try_get_by_index(first + 5)?;
    envelope.tenant_id = row.try_get_by_index(first + 6)?;
    envelope.topic = row.try_get_by_index(first + 7)?;
    envelope.routing_key = row.try_get_by_index(first + 8)?;
    envelope.routing = row.try_get_by_index::<Option<Vec<u8>>>(first + 9)?.unwrap_or_default().into();
    envelope.routing_version = routing_version(row.try_get_by_index(first + 10)?)?;
    envelope.content_encoding = row.try_get_by_index(first + 12)?;
    envelope.key_id = row.try_get_by_index(first + 13)?;
    envelope.headers = row.try_get_by_index::<Option<Vec<u8>>>(first + 14)?.unwrap_or_default().into();
    Ok(envelope)
}

fn routing_version(stored: Option<i32>) -> Result<u16, DbErr> {
    let stored = stored.unwrap_or(0);
    u16::try_from(stored).map_err(|_| DbErr::Type(format!("`routing_version` is {stored}")))
}

/// Names of destinations as they are stored: a JSON array; nothing for none.
pub(crate) fn names(names: &[Arc<str>]) -> Option<String> {
    let texts: Vec<&str> = names.iter().map(|name| &**name).collect();
    (!texts.is_empty()).then(|| serde_json::Value::from(texts).to_string())
}

/// Reads what [`names`] stored in this column.
pub(crate) fn names_at(row: &QueryResult, column: usize) -> Result<Vec<Arc<str>>, DbErr> {
    let Some(text) = row.try_get_by_index::<Option<String>>(column)? else { return Ok(Vec::new()) };
    let names: Vec<String> = serde_json::from_str(&text).map_err(|error| DbErr::Type(error.to_string()))?;
    Ok(names.into_iter().map(Into::into).collect())
}
