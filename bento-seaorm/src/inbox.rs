//! The inbox: what consumers receive, in tables like those of the outbox.
//!
//! One process at a time reads a source, by a lease in `bento_source`. It writes what it has
//! received in one transaction with its lease and its place in the source, so that a process which
//! has lost the lease writes nothing, and a message that is acknowledged is stored.
//!
//! Decision: docs/decisions/0040-the-inbox-is-an-outbox.md

mod arrivals;
mod error;
mod ingest;
mod known;
mod lease;
mod letters;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bento_core::envelope::Envelope;
use bento_core::outbox::{ShardId, Sharding};
use bento_relay::source::{Cursor, Unreadable};
use bento_relay::store::{RelayStore as _, StoreError};
use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use uuid::Uuid;

pub use self::error::IngestError;
use crate::dialect::{Sql, binds};
use crate::outbox::OutboxWriter;
use crate::relay_store::{OutboxStore, store_error};
use crate::tables::{TablePrefix, Tables};

/// The inbox of a database, for consumers.
///
/// Its relay, operators and dashboards use [`store`](Self::store): an [`OutboxStore`] on the tables
/// of the inbox.
///
/// ```
/// # #[cfg(not(feature = "sqlite"))]
/// # fn main() {}
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use bento_seaorm::inbox::{Claim, ConsumerId};
/// use bento_seaorm::{Inbox, migrate};
///
/// let database = sea_orm::Database::connect("sqlite::memory:").await?;
/// migrate(&database).await?;
/// let inbox = Inbox::new(database);
/// let lease = Duration::from_secs(30);
/// let mine = inbox.claim("orders", ConsumerId::new(), lease).await?;
/// assert!(matches!(mine, Claim::Owned { cursor: None, .. }));
/// let others = inbox.claim("orders", ConsumerId::new(), lease).await?;
/// assert!(matches!(others, Claim::Taken { .. }));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Inbox {
    store: OutboxStore,
    writer: Arc<OutboxWriter>,
    sharding: Arc<OnceLock<Sharding>>,
    /// The bytes that a statement may have.
    largest: Arc<OnceLock<usize>>,
}

/// The identity of one running consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerId(pub Uuid);

impl ConsumerId {
    /// An id that no other consumer has.
    #[expect(
        clippy::new_without_default,
        reason = "a default that differs each time would surprise"
    )]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl std::fmt::Display for ConsumerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The right to read a source. The epoch grows with every change of owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLease {
    /// The name of the source.
    pub source: Arc<str>,
    /// The consumer that holds it.
    pub owner: ConsumerId,
    /// The fencing token.
    pub epoch: i64,
}

/// The answer to [`Inbox::claim`].
#[derive(Clone, Debug)]
pub enum Claim {
    /// The consumer holds the lease.
    Owned {
        /// The lease.
        lease: SourceLease,
        /// The place behind the last message that was stored; `None` before the first one.
        cursor: Option<Cursor>,
    },
    /// Another consumer holds it.
    Taken {
        /// The other consumer, if it did not hand the lease back meanwhile.
        owner: Option<ConsumerId>,
    },
}

/// Something that has arrived.
#[derive(Clone, Debug)]
pub enum Arrival {
    /// An event.
    Event(Envelope),
    /// An event that becomes a dead letter, if a handler takes it.
    Refused {
        /// The event.
        event: Envelope,
        /// The reason, one of the causes of [`Inbox`].
        cause: &'static str,
        /// The rule and the way out.
        error: String,
    },
    /// A message that carries no event which can be read.
    Unreadable(Unreadable),
}

/// The arrivals of one source that are stored together.
#[derive(Clone, Copy, Debug)]
pub struct Ingest<'a> {
    /// The name of the source.
    pub source: &'a str,
    /// The lease of the source and the time for which it is renewed; `None` for what is pushed.
    pub lease: Option<(&'a SourceLease, Duration)>,
    /// The place behind the last arrival; `None` leaves the stored one.
    pub cursor: Option<&'a Cursor>,
    /// The arrivals, in their order.
    pub arrivals: &'a [Arrival],
}

/// The number of arrivals by what has become of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ingested {
    /// Stored, for the handlers.
    pub stored: usize,
    /// Stored before.
    pub repeated: usize,
    /// Taken by no recorded handler.
    pub ignored: usize,
    /// The cause of each new dead letter.
    pub dead: Vec<&'static str>,
    /// The shards of the stored events, for a wake of the relay.
    pub shards: BTreeSet<ShardId>,
}

/// A source as the database knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceState {
    /// The name.
    pub name: String,
    /// The consumer that reads it; `None` if none does.
    pub owner: Option<ConsumerId>,
    /// The place behind the last message that was stored, where the broker keeps a place.
    pub cursor: Option<Cursor>,
    /// The time at which something was stored last, by the clock of the database.
    pub stored_at: Option<DateTime<Utc>>,
}

impl Arrival {
    /// The bytes that it holds.
    fn bytes(&self) -> usize {
        match self {
            Self::Event(event) | Self::Refused { event, .. } => {
                event.payload.len() + event.headers.len()
            }
            Self::Unreadable(message) => message.raw.body.len(),
        }
    }
}

impl Inbox {
    /// The cause of a dead letter that is older than the time for which it is remembered that
    /// events were handled.
    pub const TOO_OLD: &'static str = "too_old";
    /// The cause of a dead letter whose id another event has.
    pub const ID_TAKEN: &'static str = "id_taken";

    /// The inbox with the default prefix and the recorded sharding.
    pub fn new(db: DatabaseConnection) -> Self {
        Self::of(OutboxStore::inbox(db))
    }

    /// The inbox behind a prefix, and in its schema if it names one.
    #[must_use]
    pub fn with_table_prefix(self, prefix: TablePrefix) -> Self {
        Self::of(self.store.with_table_prefix(prefix))
    }

    /// Sets the sharding of the inbox, as [`OutboxStore::with_sharding`] does.
    #[must_use]
    pub fn with_sharding(self, sharding: Sharding) -> Self {
        Self::of(self.store.with_sharding(sharding))
    }

    /// Sets the name of the application, as [`OutboxStore::with_application`] does.
    #[must_use]
    pub fn with_application(self, name: impl Into<String>) -> Self {
        Self::of(self.store.with_application(name))
    }

    /// The prefix and the schema of the tables.
    pub fn table_prefix(&self) -> &TablePrefix {
        self.tables().prefix()
    }

    fn of(store: OutboxStore) -> Self {
        let writer = OutboxWriter::new(store.tables().clone(), store.expected().clone());
        Self {
            writer: Arc::new(writer),
            store,
            sharding: Arc::default(),
            largest: Arc::default(),
        }
    }

    /// The inbox as a relay, an operator or a dashboard sees it. Each call makes a clone.
    pub fn store(&self) -> OutboxStore {
        self.store.clone()
    }

    /// Claims a source, or renews the lease of its owner. A new owner gets a new epoch.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancel safety
    /// The source may be claimed: claim it again, or [release](Self::release) it.
    pub async fn claim(
        &self,
        source: &str,
        consumer: ConsumerId,
        ttl: Duration,
    ) -> Result<Claim, StoreError> {
        lease::claim(self, source, consumer, ttl).await
    }

    /// Hands a lease back: another consumer may claim the source at once.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    pub async fn release(&self, lease: &SourceLease) -> Result<(), StoreError> {
        lease::release(self, lease).await
    }

    /// Stores what has arrived, in one transaction with the lease and the cursor. Events that no
    /// recorded handler takes are left out; those that are in the inbox, held or dead already are
    /// not stored again.
    ///
    /// # Errors
    /// [`IngestError`]. Nothing was stored.
    ///
    /// # Cancel safety
    /// The transaction may be committed or not: store the same again.
    pub async fn ingest(&self, ingest: Ingest<'_>) -> Result<Ingested, IngestError> {
        ingest::ingest(self, ingest).await
    }

    /// Counts the events in the inbox and those that are held, up to a limit.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancel safety
    /// It only reads.
    pub async fn backlog(&self, limit: u64) -> Result<u64, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let count = "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM {outbox} LIMIT ?) pending) + \
                     (SELECT COUNT(*) FROM (SELECT 1 FROM {held} LIMIT ?) waiting)";
        let dialect = self.store.dialect()?;
        let count = Sql::new(dialect, self.store.tables(), count, binds![limit, limit]);
        let row = self.store.db().query_one_raw(count.build()).await;
        let count = row.and_then(|row| row.map_or(Ok(0), |row| row.try_get_by_index::<i64>(0)));
        let count = count.map_err(|error| store_error(dialect.backend(), error))?;
        Ok(count.min(limit).unsigned_abs())
    }

    /// Lists the sources that the database knows, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancel safety
    /// It only reads.
    pub async fn sources(&self) -> Result<Vec<SourceState>, StoreError> {
        lease::sources(self).await
    }

    /// The sharding of the inbox, which is recorded at the first use.
    async fn sharding(&self) -> Result<Sharding, StoreError> {
        if let Some(known) = self.sharding.get() {
            return Ok(*known);
        }
        let recorded = self.store.open().await?;
        Ok(*self.sharding.get_or_init(|| recorded))
    }

    /// The bytes that one statement may have. It is asked for once, and only about a large message.
    async fn largest_statement(&self) -> Result<usize, StoreError> {
        if let Some(known) = self.largest.get() {
            return Ok(*known);
        }
        let dialect = self.store.dialect()?;
        let Some(asked) = dialect.largest_statement() else {
            return Ok(*self.largest.get_or_init(|| usize::MAX));
        };
        let asked = Statement::from_string(dialect.backend(), asked);
        let row = self.store.db().query_one_raw(asked).await;
        let said = row.and_then(|row| row.map(|row| row.try_get_by_index::<i64>(0)).transpose());
        let said = said.map_err(|error| store_error(dialect.backend(), error))?;
        let limit = said.and_then(|bytes| usize::try_from(bytes).ok());
        Ok(*self.largest.get_or_init(|| limit.unwrap_or(usize::MAX)))
    }

    fn tables(&self) -> &Tables {
        self.store.tables()
    }
}
