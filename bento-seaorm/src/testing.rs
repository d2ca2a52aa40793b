//! Helpers of the testkit and of this project's own test programs. Not public API.

use bento_core::envelope::Envelope;
use bento_core::outbox::{OutboxEntry, Sharding};
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use crate::connection::OutboxConnection;
use crate::dialect::{self, Sql};
use crate::entity;
use crate::error::Error;
use crate::outbox::OutboxWriter;
use crate::outbox::meta::Expected;
use crate::stream::{Head, StreamId};
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

/// Returns the events in the outbox, in the order of their positions in each shard.
///
/// # Errors
/// As a statement.
///
/// # Cancel safety
/// It only reads: nothing is lost.
pub async fn outbox(db: &OutboxConnection) -> Result<Vec<Envelope>, Error> {
    let dialect = dialect::of(db.get_database_backend())?;
    let select = "SELECT {read_event} FROM {outbox} ORDER BY position";
    let select = Sql::new(dialect, db.tables(), select, []).build();
    let rows = db.inner().query_all_raw(select).await;
    let read = rows.and_then(|rows| {
        let events = rows.iter().map(|row| entity::envelope_at(row, 0));
        events.collect()
    });
    read.map_err(|error| Error::from_statement(dialect.backend(), error))
}

/// Appends events of one type of aggregates to the store and to the outbox as they are, with their
/// own numbers and without any check.
///
/// # Errors
/// As a save.
///
/// # Cancel safety
/// The rows may be written or not, as long as the transaction is open.
pub async fn append(
    tx: &DatabaseTransaction,
    tables: Tables,
    aggregate_type: &'static str,
    events: Vec<Envelope>,
) -> Result<(), Error> {
    let tables = tables.on(tx.get_database_backend());
    let writer = OutboxWriter::new(tables, Expected::default());
    for envelope in events {
        let stream = StreamId {
            aggregate_type,
            aggregate_id: envelope.aggregate_id.clone(),
        };
        let before = writer.head(tx, &stream).await?.unwrap_or(0);
        let head = Head {
            stream,
            before,
            after: envelope.sequence.unwrap_or(before + 1),
        };
        let entry = OutboxEntry {
            shard: Sharding::default().shard(&envelope),
            may_be_known: false,
            envelope,
        };
        writer.append(tx, &head, vec![entry]).await?;
    }
    Ok(())
}
