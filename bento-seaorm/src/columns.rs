//! The columns of an event, in one table from which the schemas, the lists of columns in statements
//! and the values of a row are derived. [`entity`](crate::entity) reads the cells.

use std::mem::take;
use std::sync::LazyLock;

use bento_core::envelope::Envelope;
use bento_core::event::EventKind;
use bento_core::limits;
use bento_core::outbox::OutboxEntry;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use sea_orm::Value;

/// A column of an event in the outbox, the held rows, the dead letters, the published rows and,
/// unless it is about delivery, the event store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// True if the column holds NULL where the envelope has no value.
    pub(crate) is_optional: bool,
    /// True if the view of status shows the column.
    is_in_status: bool,
    /// True if the event store has the column too.
    pub(crate) is_stored: bool,
    /// Moves the value out of an envelope. None is taken twice.
    take: fn(&mut Envelope) -> Value,
    /// Compares two envelopes; `None` where the events of one flush rarely have the same value.
    pub(crate) is_same: Option<fn(&Envelope, &Envelope) -> bool>,
}

/// The type of a column. Each back end has its own name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    BigInt,
    Uuid,
    /// The number of characters that every back end stores.
    Text(usize),
    Bytes,
    Time,
}

/// The columns in the order in which they are written and read, behind `shard`.
pub(crate) const COLUMNS: [Column; 17] = [
    column("event_id", Kind::Uuid, |event| {
        Value::Uuid(Some(*event.event_id.as_uuid()))
    }),
    column("event_type", Kind::Text(limits::EVENT_TYPE), |event| {
        Value::String(Some(take(&mut event.event_type).into_owned()))
    })
    .shared(|one, other| one.event_type == other.event_type),
    column("schema_version", Kind::Int, |event| {
        Value::Int(Some(event.schema_version.cast_signed()))
    })
    .shared(|one, other| one.schema_version == other.schema_version),
    column("kind", Kind::Text(16), |event| {
        // A domain event has none.
        let is_domain = event.kind == EventKind::Domain;
        text((!is_domain).then(|| event.kind.to_string()))
    })
    .optional()
    .not_stored()
    .shared(|one, other| one.kind == other.kind),
    column("aggregate_type", Kind::Text(190), |event| {
        Value::String(Some(take(&mut event.aggregate_type).into_owned()))
    })
    .shared(|one, other| one.aggregate_type == other.aggregate_type),
    column("aggregate_id", Kind::Text(255), |event| {
        Value::String(Some(take(&mut event.aggregate_id)))
    })
    .shared(|one, other| one.aggregate_id == other.aggregate_id),
    column("sequence", Kind::BigInt, |event| {
        Value::BigInt(event.sequence)
    })
    .optional()
    .shared(|one, other| one.sequence.is_none() && other.sequence.is_none()),
    column("tenant_id", Kind::Text(limits::TENANT_ID), |event| {
        text(event.tenant_id.take())
    })
    .optional()
    .shared(|one, other| one.tenant_id == other.tenant_id),
    column("topic", Kind::Text(255), |event| text(event.topic.take()))
        .optional()
        .not_stored()
        .shared(|one, other| one.topic == other.topic),
    column("routing_key", Kind::Text(255), |event| {
        text(event.routing_key.take())
    })
    .optional()
    .not_stored()
    .shared(|one, other| one.routing_key == other.routing_key),
    column("routing", Kind::Bytes, |event| {
        bytes(take(&mut event.routing))
    })
    .optional()
    .shared(|one, other| one.routing == other.routing)
    .not_stored()
    .not_in_status(),
    column("routing_version", Kind::Int, |event| {
        // No routing has version 0.
        Value::Int(Some(event.routing_version.into()).filter(|&version| version > 0))
    })
    .optional()
    .shared(|one, other| one.routing_version == other.routing_version)
    .not_stored()
    .not_in_status(),
    column("occurred_at", Kind::Time, |event| {
        Value::ChronoDateTimeUtc(Some(event.occurred_at))
    }),
    column("content_encoding", Kind::Text(64), |event| {
        text(event.content_encoding.take())
    })
    .optional()
    .shared(|one, other| one.content_encoding == other.content_encoding),
    column("key_id", Kind::Text(255), |event| text(event.key_id.take()))
        .optional()
        .shared(|one, other| one.key_id == other.key_id),
    column("headers", Kind::Bytes, |event| {
        bytes(take(&mut event.headers))
    })
    .optional()
    .shared(|one, other| one.headers == other.headers),
    column("payload", Kind::Bytes, |event| {
        Value::Bytes(Some(take(&mut event.payload).into()))
    }),
];

/// The number of parameters of a row of the outbox: the shard and then [`COLUMNS`].
pub(crate) const PARAMETERS: usize = 1 + COLUMNS.len();

/// The names of [`COLUMNS`] with commas between them.
static LIST: LazyLock<String> = LazyLock::new(|| COLUMNS.map(|column| column.name).join(", "));

/// The names of [`COLUMNS`] as SQL, with commas between them.
pub(crate) fn list() -> &'static str {
    &LIST
}

/// The columns of the event store.
fn stored() -> impl Iterator<Item = &'static Column> {
    COLUMNS.iter().filter(|column| column.is_stored)
}

/// The number of the columns of the event store.
pub(crate) const STORED: usize = {
    let (mut place, mut number) = (0, 0);
    while place < COLUMNS.len() {
        number += COLUMNS[place].is_stored as usize;
        place += 1;
    }
    number
};

/// The names of the columns of the event store, with commas between them.
static STORED_LIST: LazyLock<String> = LazyLock::new(|| {
    stored()
        .map(|column| column.name)
        .collect::<Vec<_>>()
        .join(", ")
});

/// The names of the columns of the event store as SQL, with commas between them.
pub(crate) fn stored_list() -> &'static str {
    &STORED_LIST
}

/// The columns of the event store in a CREATE TABLE, a line each. Each event has a number there.
pub(crate) fn stored_definitions(sql_type: impl Fn(Kind) -> String, null: &str) -> String {
    let line = |column: &Column| {
        let is_optional = column.is_optional && column.name != "sequence";
        let null = if is_optional { null } else { " NOT NULL" };
        format!("\n    {} {}{null}", column.name, sql_type(column.kind))
    };
    stored().map(line).collect::<Vec<_>>().join(",")
}

/// The parameters of one row of the event store. `time` makes that of a time.
pub(crate) fn stored_values(
    mut event: Envelope,
    time: impl Fn(DateTime<Utc>) -> Value,
) -> impl Iterator<Item = Value> {
    stored().map(move |column| match column.take(&mut event) {
        Value::ChronoDateTimeUtc(Some(at)) => time(at),
        value => value,
    })
}

/// The place of a column in [`COLUMNS`]. A wrong name does not compile.
macro_rules! at {
    ($name:literal) => {
        const { crate::columns::place_of($name) }
    };
}
pub(crate) use at;

/// The answer to [`at!`].
pub(crate) const fn place_of(name: &str) -> usize {
    let mut place = 0;
    while place < COLUMNS.len() {
        if is_equal(COLUMNS[place].name.as_bytes(), name.as_bytes()) {
            return place;
        }
        place += 1;
    }
    panic!("an event has no column with this name")
}

/// `==`, which a `const fn` cannot call.
const fn is_equal(one: &[u8], other: &[u8]) -> bool {
    let mut place = 0;
    while place < one.len() && place < other.len() && one[place] == other[place] {
        place += 1;
    }
    place == one.len() && place == other.len()
}

/// True if a column of this name holds bytes.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(crate) fn is_bytes(name: &str) -> bool {
    COLUMNS
        .iter()
        .any(|column| column.name == name && column.kind == Kind::Bytes)
}

/// The columns of a CREATE TABLE, a line each. `null` ends the line of an optional one.
pub(crate) fn definitions(sql_type: impl Fn(Kind) -> String, null: &str) -> String {
    let line = |column: Column| {
        let null = if column.is_optional {
            null
        } else {
            " NOT NULL"
        };
        format!("\n    {} {}{null}", column.name, sql_type(column.kind))
    };
    COLUMNS.map(line).join(",")
}

/// The columns of the view of status: `id` and `json` make text of a UUID and of bytes.
pub(crate) fn in_status(id: impl Fn(&str) -> String, json: impl Fn(&str) -> String) -> String {
    let shown = |column: &Column| {
        let name = column.name;
        match column.kind {
            Kind::Uuid => format!("{} AS {name}", id(name)),
            // An encoded payload is not JSON.
            Kind::Bytes if name == "payload" => {
                format!(
                    "CASE WHEN content_encoding IS NULL THEN {} END AS {name}",
                    json(name)
                )
            }
            Kind::Bytes => format!("{} AS {name}", json(name)),
            Kind::Text(_) if name == "kind" => {
                format!("COALESCE(kind, '{}') AS kind", EventKind::Domain)
            }
            _ => name.to_owned(),
        }
    };
    let columns = COLUMNS.iter().filter(|column| column.is_in_status);
    let columns: Vec<_> = columns.map(shown).collect();
    format!("shard, position, {}", columns.join(", "))
}

/// The parameters of one row of the outbox. `time` makes that of a time.
pub(crate) fn row_values(
    mut entry: OutboxEntry,
    time: impl Fn(DateTime<Utc>) -> Value,
) -> impl Iterator<Item = Value> {
    let shard = Value::Int(Some(entry.shard));
    let event = COLUMNS
        .iter()
        .map(move |column| match column.take(&mut entry.envelope) {
            Value::ChronoDateTimeUtc(Some(at)) => time(at),
            value => value,
        });
    std::iter::once(shard).chain(event)
}

impl Column {
    /// Moves the value out of an envelope. None is taken twice.
    pub(crate) fn take(&self, event: &mut Envelope) -> Value {
        (self.take)(event)
    }

    const fn optional(mut self) -> Self {
        self.is_optional = true;
        self
    }

    /// Marks a column whose value the events of one flush often share.
    const fn shared(mut self, is_same: fn(&Envelope, &Envelope) -> bool) -> Self {
        self.is_same = Some(is_same);
        self
    }

    const fn not_stored(mut self) -> Self {
        self.is_stored = false;
        self
    }

    const fn not_in_status(mut self) -> Self {
        self.is_in_status = false;
        self
    }
}

/// A column that is never NULL.
const fn column(name: &'static str, kind: Kind, take: fn(&mut Envelope) -> Value) -> Column {
    Column {
        name,
        kind,
        is_optional: false,
        is_in_status: true,
        is_stored: true,
        take,
        is_same: None,
    }
}

/// Optional text; the empty text becomes NULL.
fn text(text: Option<String>) -> Value {
    Value::String(text.filter(|text| !text.is_empty()))
}

/// Optional bytes; empty ones become NULL.
fn bytes(bytes: Bytes) -> Value {
    Value::Bytes((!bytes.is_empty()).then(|| bytes.into()))
}
