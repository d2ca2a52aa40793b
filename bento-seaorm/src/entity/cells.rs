//! An envelope read from the driver's own row.
//!
//! SeaORM reads a NULL as an error, whose text it formats, and drops it for an `Option`. An event
//! has up to nine NULLs, which took a third of the processor time of a drain.

use std::borrow::Cow;
use std::sync::Arc;

use bento_core::envelope::Envelope;
use chrono::{DateTime, Utc};
use sea_orm::sqlx::{ColumnIndex, Database, Decode, Row, Type};
use sea_orm::{DbErr, RuntimeErr};
use uuid::Uuid;

/// A type that a cell of this database is read as.
pub(super) trait Cell<'r, DB: Database>: Decode<'r, DB> + Type<DB> {}

impl<'r, DB: Database, T: Decode<'r, DB> + Type<DB>> Cell<'r, DB> for T {}

/// Reads an envelope from the columns [`WRITTEN`](super::WRITTEN) that begin at `first`.
///
/// # Errors
/// The first cell that cannot be read.
pub(super) fn envelope<'r, R: Row>(row: &'r R, first: usize) -> Result<Envelope, DbErr>
where
    usize: ColumnIndex<R>,
    Uuid: Cell<'r, R::Database>,
    String: Cell<'r, R::Database>,
    Vec<u8>: Cell<'r, R::Database>,
    DateTime<Utc>: Cell<'r, R::Database>,
    i32: Cell<'r, R::Database>,
    i64: Cell<'r, R::Database>,
{
    let cells = Cells { row, first };
    let id = cells.get::<Uuid>(0)?.into();
    let event_type: String = cells.get(1)?;
    let version = cells.get::<i32>(2)?.cast_unsigned();
    let payload: Vec<u8> = cells.get(15)?;
    let mut envelope = Envelope::with_id(id, event_type, version, cells.get(11)?, payload);
    envelope.aggregate_type = Cow::Owned(cells.get(3)?);
    envelope.aggregate_id = cells.get(4)?;
    envelope.sequence = cells.get(5)?;
    envelope.tenant_id = cells.get(6)?;
    envelope.topic = cells.get(7)?;
    envelope.routing_key = cells.get(8)?;
    envelope.routing = cells.get::<Option<Vec<u8>>>(9)?.unwrap_or_default().into();
    envelope.routing_version = routing_version(cells.get(10)?)?;
    envelope.content_encoding = cells.get(12)?;
    envelope.key_id = cells.get(13)?;
    envelope.headers = cells.get::<Option<Vec<u8>>>(14)?.unwrap_or_default().into();
    Ok(envelope)
}

/// The cells of a row, counted from its first column of an event.
struct Cells<'r, R> {
    row: &'r R,
    first: usize,
}

impl<'r, R: Row> Cells<'r, R>
where
    usize: ColumnIndex<R>,
{
    fn get<T: Cell<'r, R::Database>>(&self, column: usize) -> Result<T, DbErr> {
        let cell = self.row.try_get(self.first + column);
        cell.map_err(|error| DbErr::Query(RuntimeErr::SqlxError(Arc::new(error))))
    }
}

fn routing_version(stored: Option<i32>) -> Result<u16, DbErr> {
    let stored = stored.unwrap_or(0);
    u16::try_from(stored).map_err(|_| DbErr::Type(format!("`routing_version` is {stored}")))
}
