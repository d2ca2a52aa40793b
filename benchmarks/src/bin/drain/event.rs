//! An event as a reader written by hand has it in memory.

use chrono::{DateTime, Utc};
use sqlx::{ColumnIndex, Database, Decode, Row, Type};
use uuid::Uuid;

/// The columns that every reader reads.
pub(crate) const READ: &str = "position, event_id, event_type, schema_version, aggregate_type, \
                               aggregate_id, sequence, tenant_id, topic, routing_key, \
                               occurred_at, content_encoding, key_id, headers, payload";

/// See the module.
#[derive(Debug)]
#[expect(
    dead_code,
    reason = "read from the database and handed to a publisher that looks at \
                              little of it"
)]
pub(crate) struct Event {
    pub(crate) position: i64,
    pub(crate) event_id: Uuid,
    pub(crate) event_type: String,
    pub(crate) schema_version: i32,
    pub(crate) aggregate_type: String,
    pub(crate) aggregate_id: String,
    pub(crate) sequence: Option<i64>,
    pub(crate) tenant_id: Option<String>,
    pub(crate) topic: Option<String>,
    pub(crate) routing_key: Option<String>,
    pub(crate) occurred_at: DateTime<Utc>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) key_id: Option<String>,
    pub(crate) headers: Option<Vec<u8>>,
    pub(crate) payload: Vec<u8>,
}

/// A type that a cell of this database is read as.
pub(crate) trait Cell<'r, DB: Database>: Decode<'r, DB> + Type<DB> {}

impl<'r, DB: Database, T: Decode<'r, DB> + Type<DB>> Cell<'r, DB> for T {}

impl Event {
    /// Reads the columns [`READ`].
    pub(crate) fn read<'r, R: Row>(row: &'r R) -> sqlx::Result<Self>
    where
        usize: ColumnIndex<R>,
        Uuid: Cell<'r, R::Database>,
        String: Cell<'r, R::Database>,
        Vec<u8>: Cell<'r, R::Database>,
        DateTime<Utc>: Cell<'r, R::Database>,
        i32: Cell<'r, R::Database>,
        i64: Cell<'r, R::Database>,
    {
        Ok(Self {
            position: row.try_get(0)?,
            event_id: row.try_get(1)?,
            event_type: row.try_get(2)?,
            schema_version: row.try_get(3)?,
            aggregate_type: row.try_get(4)?,
            aggregate_id: row.try_get(5)?,
            sequence: row.try_get(6)?,
            tenant_id: row.try_get(7)?,
            topic: row.try_get(8)?,
            routing_key: row.try_get(9)?,
            occurred_at: row.try_get(10)?,
            content_encoding: row.try_get(11)?,
            key_id: row.try_get(12)?,
            headers: row.try_get(13)?,
            payload: row.try_get(14)?,
        })
    }
}
