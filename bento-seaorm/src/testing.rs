//! Helpers of this project's own test programs. Not public API.

use bento_core::outbox::OutboxEntry;
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use crate::error::Error;
use crate::outbox::OutboxWriter;
use crate::outbox::meta::Expected;
use crate::tables::Tables;

/// Writes entries as the flush of a transaction does, into the shards that they name.
///
/// # Errors
/// As the flush.
///
/// # Cancel safety
/// The rows may be written or not, as long as the transaction is open.
pub async fn write(tx: &DatabaseTransaction, entries: Vec<OutboxEntry>) -> Result<(), Error> {
    write_to(tx, Tables::default(), entries).await
}

/// Like [`write`], into the outbox of these tables.
///
/// # Errors
/// As the flush.
///
/// # Cancel safety
/// The rows may be written or not, as long as the transaction is open.
pub async fn write_to(
    tx: &DatabaseTransaction,
    tables: Tables,
    entries: Vec<OutboxEntry>,
) -> Result<(), Error> {
    let tables = tables.on(tx.get_database_backend());
    OutboxWriter::new(tables, Expected::default())
        .write(tx, entries)
        .await
        .map(|_| ())
}
