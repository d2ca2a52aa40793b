//! A stored event as an aggregate is made of it. Its text and its payload are borrowed from the
//! driver's own row: a load of many events would copy each of them.

use sea_orm::sqlx::{ColumnIndex, Row};
use sea_orm::{DbErr, QueryResult};

use crate::entity::{CellType, Cells, read_own_row};

/// A row of `sequence, event_type, schema_version, payload`.
pub(super) struct Applied<'r> {
    pub(super) sequence: i64,
    pub(super) event_type: &'r str,
    pub(super) version: u32,
    pub(super) payload: &'r [u8],
}

/// Reads an event.
///
/// # Errors
/// The first cell that cannot be read.
pub(super) fn read(row: &QueryResult) -> Result<Applied<'_>, DbErr> {
    read_own_row!(row, applied())
}

fn applied<'r, R: Row>(row: &'r R) -> Result<Applied<'r>, DbErr>
where
    usize: ColumnIndex<R>,
    i64: CellType<'r, R::Database>,
    i32: CellType<'r, R::Database>,
    &'r str: CellType<'r, R::Database>,
    &'r [u8]: CellType<'r, R::Database>,
{
    let cells = Cells::of(row, 0);
    Ok(Applied {
        sequence: cells.get(0)?,
        event_type: cells.get(1)?,
        version: cells.get::<i32>(2)?.cast_unsigned(),
        payload: cells.get(3)?,
    })
}
