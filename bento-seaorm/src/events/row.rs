//! A stored event as an aggregate is made of it. Its text and its payload are borrowed from the
//! driver's own row: a load of many events would copy each of them.

use sea_orm::sqlx::{ColumnIndex, Row};
use sea_orm::{DbErr, QueryResult};

use crate::dialect::Dialect;
use crate::entity::{CellType, Cells, read_own_row};

/// A row of `sequence, event_type, schema_version, payload`.
pub(super) struct Applied<'r> {
    pub(super) sequence: i64,
    pub(super) event_type: &'r str,
    pub(super) version: u32,
    pub(super) payload: &'r [u8],
}

/// The reading of the rows of one statement.
pub(super) struct Rows {
    /// True if the next row tells the types of all that follow.
    is_first: bool,
    has_types: bool,
}

impl Rows {
    /// The rows of a statement that has not run.
    pub(super) fn of(dialect: &dyn Dialect) -> Self {
        Self {
            is_first: true,
            has_types: dialect.types_columns(),
        }
    }

    /// Reads an event. The types of a statement's columns are looked at once, where they are those
    /// of each row.
    ///
    /// # Errors
    /// The first cell that cannot be read.
    pub(super) fn read<'r>(&mut self, row: &'r QueryResult) -> Result<Applied<'r>, DbErr> {
        let is_known = self.has_types && !std::mem::take(&mut self.is_first);
        read_own_row!(row, applied(is_known))
    }
}

fn applied<'r, R: Row>(row: &'r R, is_known: bool) -> Result<Applied<'r>, DbErr>
where
    usize: ColumnIndex<R>,
    i64: CellType<'r, R::Database>,
    i32: CellType<'r, R::Database>,
    &'r str: CellType<'r, R::Database>,
    &'r [u8]: CellType<'r, R::Database>,
{
    let cells = Cells::of(row, 0);
    if is_known {
        return Ok(Applied {
            sequence: cells.get_unchecked(0)?,
            event_type: cells.get_unchecked(1)?,
            version: cells.get_unchecked::<i32>(2)?.cast_unsigned(),
            payload: cells.get_unchecked(3)?,
        });
    }
    Ok(Applied {
        sequence: cells.get(0)?,
        event_type: cells.get(1)?,
        version: cells.get::<i32>(2)?.cast_unsigned(),
        payload: cells.get(3)?,
    })
}
