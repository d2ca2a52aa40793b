//! The transaction that stores what has arrived.

use std::collections::HashMap;

use bento_core::EventId;
use bento_core::outbox::{OutboxEntry, ShardId};
use bento_relay::store::{NewDeadLetter, StoreError};
use sea_orm::{ConnectionTrait, DbBackend};

use super::arrivals::{Refusal, Sorted};
use super::letters::Letters;
use super::{Arrival, Inbox, Ingest, IngestError, Ingested, known, lease};
use crate::backend;
use crate::error::Error;
use crate::relay_store::{StoreFailure, read_handlers, retrying, store_error};

/// The bytes from which on it is asked whether a statement may be so large.
const LARGE: usize = 512 << 10;

/// The bytes of a statement beside those that an arrival holds.
const BESIDE: usize = 64 << 10;

/// An arrival that no statement may hold.
#[derive(Debug, thiserror::Error)]
#[error("a message has {bytes} bytes, and `max_allowed_packet` of the server is {limit}")]
struct TooLarge {
    bytes: usize,
    limit: usize,
}

/// Returns the bytes that one statement may hold, `None` if it may hold all arrivals. The server
/// ends the connection at a larger statement, instead of an answer.
///
/// # Errors
/// [`StoreError::Refused`] for an arrival that no statement may hold.
async fn bound(inbox: &Inbox, arrivals: &[Arrival]) -> Result<Option<usize>, StoreError> {
    let bytes = arrivals.iter().map(Arrival::bytes);
    if bytes.clone().fold(0, usize::saturating_add) < LARGE {
        return Ok(None);
    }
    let limit = inbox.largest_statement().await?;
    let most = limit.saturating_sub(BESIDE);
    if let Some(bytes) = bytes.max().filter(|bytes| *bytes > most) {
        let source = TooLarge { bytes, limit }.into();
        return Err(StoreError::Refused { source });
    }
    Ok(Some(most))
}

pub(super) async fn ingest(inbox: &Inbox, ingest: Ingest<'_>) -> Result<Ingested, IngestError> {
    let most = bound(inbox, ingest.arrivals).await?;
    let backend = inbox.store.db().get_database_backend();
    // A lost lease and missing handlers are not failures of the store: they travel as values.
    retrying(backend, || run(inbox, ingest, most)).await?
}

async fn run(
    inbox: &Inbox,
    ingest: Ingest<'_>,
    most: Option<usize>,
) -> Result<Result<Ingested, IngestError>, StoreFailure> {
    let sharding = inbox.sharding().await?;
    let idle = ingest.lease.map(|(_, ttl)| ttl);
    let (tx, dialect) = inbox.store.begin_until(idle).await?;
    let tables = inbox.tables();
    if let Some((own, ttl)) = ingest.lease
        && !lease::advance(&tx, inbox, dialect, (own, ttl), ingest.cursor).await?
    {
        tx.rollback().await?;
        let (name, epoch) = (own.source.to_string(), own.epoch);
        return Ok(Err(IngestError::LeaseLost { name, epoch }));
    }
    let handlers = read_handlers(&tx, dialect, tables).await?;
    if handlers.is_empty() {
        tx.rollback().await?;
        return Ok(Err(IngestError::NoHandlers));
    }
    let mut sorted = Sorted::new(ingest.arrivals, &handlers);
    if !sorted.wanted.is_empty() {
        let known = known::among(&tx, dialect, tables, &sorted.ids()).await?;
        sorted.leave_out(known);
        let renamed = sorted.renamed();
        if !renamed.is_empty() {
            let known = known::among(&tx, dialect, tables, &renamed).await?;
            sorted.leave_out_renamed(&known);
        }
    }
    let mut ingested = Ingested {
        ignored: sorted.ignored,
        repeated: sorted.repeated,
        ..Ingested::default()
    };
    let letters = Letters {
        tx: &tx,
        dialect,
        tables,
        source: ingest.source,
    };
    let mut refused: HashMap<Refusal, Vec<(ShardId, EventId)>> = HashMap::new();
    let mut entries = Vec::with_capacity(sorted.wanted.len());
    for wanted in sorted.wanted {
        let envelope = wanted.event;
        let shard = sharding.shard(&envelope);
        match wanted.refusal {
            Some(refusal) => {
                ingested.dead.push(refusal.cause);
                let dead = refused.entry(refusal).or_default();
                dead.push((shard, envelope.event_id));
            }
            None => {
                ingested.stored += 1;
                ingested.shards.insert(shard);
            }
        }
        entries.push(OutboxEntry {
            shard,
            may_be_known: true,
            envelope,
        });
    }
    let written = inbox.writer.write_unless_there(&tx, entries, most).await;
    written.map_err(|error| failure(dialect.backend(), error))?;
    letters.refuse(refused).await?;
    for unreadable in sorted.unreadable {
        if letters.write(unreadable, sharding).await? {
            ingested.dead.push(NewDeadLetter::UNREADABLE);
        } else {
            ingested.repeated += 1;
        }
    }
    tx.commit().await?;
    Ok(Ok(ingested))
}

/// Makes a failure of the store of an error of the writer.
fn failure(database: DbBackend, error: Error) -> StoreFailure {
    match error {
        Error::Database(error) if backend::is_transient(database, &error) => {
            StoreFailure::Database(error)
        }
        Error::Database(error) => store_error(database, error).into(),
        error => StoreError::unavailable(error).into(),
    }
}
