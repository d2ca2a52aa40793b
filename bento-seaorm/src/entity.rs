//! The reading of an envelope from the columns of a row.
//!
//! SeaORM reads a NULL as an error, whose text it formats, and drops it for an `Option`. An event
//! has up to ten NULLs, which took a third of the processor time of a drain. So an envelope is
//! read from the driver's own row.

use std::borrow::Cow;
use std::sync::Arc;

use bento_core::envelope::Envelope;
use bento_core::event::EventKind;
use bento_core::id::EventId;
use bento_core::limits;
use chrono::{DateTime, Datelike, Utc};
use sea_orm::sqlx::{ColumnIndex, Database, Decode, Row, Type};
use sea_orm::{DbErr, QueryResult, RuntimeErr, TryGetable};
use uuid::Uuid;

use crate::columns::{COLUMNS, Kind, at};

/// Reads the driver's own row by a function that takes that of any driver.
macro_rules! read_own_row {
    ($row:expr, $read:ident($($argument:expr),*)) => {{
        #[cfg(feature = "postgres")]
        if let Some(row) = $row.try_as_pg_row() {
            return $read(row $(, $argument)*);
        }
        #[cfg(feature = "mysql")]
        if let Some(row) = $row.try_as_mysql_row() {
            return $read(row $(, $argument)*);
        }
        #[cfg(feature = "sqlite")]
        if let Some(row) = $row.try_as_sqlite_row() {
            return $read(row $(, $argument)*);
        }
        Err(sea_orm::DbErr::Type(
            "the row is of no back end whose feature is enabled".into(),
        ))
    }};
}
pub(crate) use read_own_row;

/// Reads an envelope from the [`COLUMNS`] that begin at `first`.
///
/// # Errors
/// The first cell that cannot be read.
pub(crate) fn envelope_at(row: &QueryResult, first: usize) -> Result<Envelope, DbErr> {
    read_own_row!(row, envelope(first))
}

/// A type that a cell of this database is read as.
pub(crate) trait CellType<'r, DB: Database>: Decode<'r, DB> + Type<DB> {}

impl<'r, DB: Database, T: Decode<'r, DB> + Type<DB>> CellType<'r, DB> for T {}

/// Reads an envelope from [`COLUMNS`] that begin at `first`.
///
/// # Errors
/// The first cell that cannot be read.
fn envelope<'r, R: Row>(row: &'r R, first: usize) -> Result<Envelope, DbErr>
where
    usize: ColumnIndex<R>,
    Uuid: CellType<'r, R::Database>,
    String: CellType<'r, R::Database>,
    Vec<u8>: CellType<'r, R::Database>,
    DateTime<Utc>: CellType<'r, R::Database>,
    i32: CellType<'r, R::Database>,
    i64: CellType<'r, R::Database>,
{
    let cells = Cells::of(row, first);
    let id = cells.get::<Uuid>(at!("event_id"))?.into();
    let event_type: String = cells.get(at!("event_type"))?;
    let version = cells.get::<i32>(at!("schema_version"))?.cast_unsigned();
    let payload: Vec<u8> = cells.get(at!("payload"))?;
    let mut envelope = Envelope::with_id(
        id,
        event_type,
        version,
        cells.get(at!("occurred_at"))?,
        payload,
    );
    envelope.kind = kind(cells.get(at!("kind"))?)?;
    envelope.aggregate_type = Cow::Owned(cells.get(at!("aggregate_type"))?);
    envelope.aggregate_id = cells.get(at!("aggregate_id"))?;
    envelope.sequence = cells.get(at!("sequence"))?;
    envelope.tenant_id = cells.get(at!("tenant_id"))?;
    envelope.topic = cells.get(at!("topic"))?;
    envelope.routing_key = cells.get(at!("routing_key"))?;
    envelope.routing = cells
        .get::<Option<Vec<u8>>>(at!("routing"))?
        .unwrap_or_default()
        .into();
    envelope.routing_version = routing_version(cells.get(at!("routing_version"))?)?;
    envelope.content_encoding = cells.get(at!("content_encoding"))?;
    envelope.key_id = cells.get(at!("key_id"))?;
    envelope.headers = cells
        .get::<Option<Vec<u8>>>(at!("headers"))?
        .unwrap_or_default()
        .into();
    Ok(envelope)
}

/// The cells of a row, counted from its first column of an event.
pub(crate) struct Cells<'r, R> {
    row: &'r R,
    first: usize,
}

impl<'r, R: Row> Cells<'r, R>
where
    usize: ColumnIndex<R>,
{
    pub(crate) fn of(row: &'r R, first: usize) -> Self {
        Self { row, first }
    }

    /// The value of a cell.
    ///
    /// # Errors
    /// The driver's, if the cell holds something else.
    pub(crate) fn get<T: CellType<'r, R::Database>>(&self, column: usize) -> Result<T, DbErr> {
        self.row.try_get(self.first + column).map_err(unread)
    }

    /// The value of a cell whose column is known to hold this type.
    ///
    /// # Errors
    /// The driver's, if the value cannot be read.
    pub(crate) fn get_unchecked<T: CellType<'r, R::Database>>(
        &self,
        column: usize,
    ) -> Result<T, DbErr> {
        let cell = self.row.try_get_unchecked(self.first + column);
        cell.map_err(unread)
    }
}

fn unread(error: sea_orm::sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(Arc::new(error)))
}

fn kind(stored: Option<String>) -> Result<EventKind, DbErr> {
    let Some(name) = stored else {
        return Ok(EventKind::Domain);
    };
    EventKind::from_name(&name).ok_or_else(|| DbErr::Type(format!("`kind` is `{name}`")))
}

fn routing_version(stored: Option<i32>) -> Result<u16, DbErr> {
    let stored = stored.unwrap_or(0);
    u16::try_from(stored).map_err(|_| DbErr::Type(format!("`routing_version` is {stored}")))
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
    let event_id = of.get(at!("event_id"));
    let event_id = event_id.map_or_else(EventId::new, |id: Uuid| EventId::from(id));
    let version: i32 = of.get(at!("schema_version")).unwrap_or_default();
    let time = of
        .get(at!("occurred_at"))
        .filter(|time: &DateTime<Utc>| (1000..=9999).contains(&time.year()))
        .unwrap_or_else(Utc::now);
    let mut envelope = Envelope::with_id(
        event_id,
        of.text(at!("event_type")),
        version.cast_unsigned(),
        time,
        of.bytes(at!("payload")),
    );
    envelope.kind = of
        .optional(at!("kind"))
        .and_then(|name| EventKind::from_name(&name))
        .unwrap_or_default();
    // Half of a key would be the key of another aggregate.
    if let (Some(aggregate_type), Some(aggregate_id)) = (
        of.whole_text(at!("aggregate_type")),
        of.whole_text(at!("aggregate_id")),
    ) {
        (envelope.aggregate_type, envelope.aggregate_id) = (aggregate_type.into(), aggregate_id);
    }
    envelope.sequence = of.get(at!("sequence"));
    envelope.tenant_id = of.optional(at!("tenant_id"));
    envelope.topic = of.optional(at!("topic"));
    envelope.routing_key = of.optional(at!("routing_key"));
    envelope.routing = of.bytes(at!("routing")).into();
    envelope.routing_version = of
        .get::<i32>(at!("routing_version"))
        .and_then(|version| version.try_into().ok())
        .unwrap_or_default();
    envelope.content_encoding = of.optional(at!("content_encoding"));
    envelope.key_id = of.optional(at!("key_id"));
    envelope.headers = of.bytes(at!("headers")).into();
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

    /// The text as far as every table can hold it.
    fn text(&self, column: usize) -> String {
        let text = lossy_at(self.row, self.first + column);
        text.chars().take(width(column)).collect()
    }

    /// The text, if it can be read and every table can hold it.
    fn whole_text(&self, column: usize) -> Option<String> {
        self.get(column).filter(|text: &String| {
            limits::check_text(COLUMNS[column].name, text, width(column)).is_ok()
        })
    }

    fn optional(&self, column: usize) -> Option<String> {
        Some(self.text(column)).filter(|text| !text.is_empty())
    }
}

/// The number of characters that a text column holds.
fn width(column: usize) -> usize {
    match COLUMNS[column].kind {
        Kind::Text(width) => width,
        kind => unreachable!("{kind:?} is not a text"),
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
