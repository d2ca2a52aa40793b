//! Dead letters whose key cannot be read: each is addressed by an id that stands for its row.
//!
//! Only SQLite holds such a key. Its tables number their rows, and no value of a column changes the
//! number.

use bento_core::id::EventId;
use bento_relay::dead_letter::DeadLetterKey;
use sea_orm::{ConnectionTrait, DbErr};
use uuid::{Builder, Uuid};

use crate::dialect::{Dialect, Sql, binds};
use crate::session::StoreTransaction;
use crate::tables::Tables;

/// The first bytes of an id that stands for a row. The number of the row follows behind the version
/// and the variant.
const MARK: [u8; 6] = *b"bento\0";

/// The bits of the variant of a UUID, in the highest byte of the number.
const VARIANT: u64 = 0b11 << 62;

/// The id that stands for a dead letter whose own id cannot be read.
pub(super) fn id_of_row(row: i64) -> EventId {
    let mut bytes = [0; 16];
    bytes[..MARK.len()].copy_from_slice(&MARK);
    bytes[8..].copy_from_slice(&row.to_be_bytes());
    Builder::from_custom_bytes(bytes).into_uuid().into()
}

/// The row that an id stands for, if it stands for one of this database.
pub(super) fn row_number_of(dialect: &dyn Dialect, id: EventId) -> Option<i64> {
    dialect.row_number()?;
    let (bytes, number) = (id.as_uuid().as_bytes(), id.as_uuid().as_u64_pair().1);
    bytes
        .starts_with(&MARK)
        .then(|| (number & !VARIANT).cast_signed())
}

/// Writes the key under which they are known into those of these dead letters that are addressed by
/// their row.
pub(super) async fn settle_keys(
    tx: &StoreTransaction,
    dialect: &'static dyn Dialect,
    tables: &Tables,
    keys: &[DeadLetterKey],
) -> Result<(), DbErr> {
    for (event_id, route) in keys {
        let Some(row) = row_number_of(dialect, *event_id) else {
            continue;
        };
        let update = Sql::new(
            dialect,
            tables,
            "UPDATE {dead_letter} SET event_id = ?, route = ? WHERE ",
            binds![Uuid::from(*event_id), &**route],
        );
        tx.execute_raw(is_row(update, dialect, row).build()).await?;
    }
    Ok(())
}

/// Appends the condition that a row has this number.
pub(super) fn is_row<'a>(sql: Sql<'a>, dialect: &dyn Dialect, row: i64) -> Sql<'a> {
    let number = dialect.row_number().unwrap_or("NULL");
    sql.then(&format!("{number} = ?"), binds![row])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "sqlite")]
    #[test]
    fn an_id_leads_back_to_its_row_where_rows_are_numbered() {
        use sea_orm::DbBackend;
        let sqlite = crate::dialect::of(DbBackend::Sqlite).unwrap();
        for row in [1, 255, 1 << 40, (1 << 62) - 1] {
            assert_eq!(row_number_of(sqlite, id_of_row(row)), Some(row));
            #[cfg(feature = "postgres")]
            assert_eq!(
                row_number_of(
                    crate::dialect::of(DbBackend::Postgres).unwrap(),
                    id_of_row(row)
                ),
                None
            );
        }
        assert_eq!(row_number_of(sqlite, EventId::new()), None);
    }
}
