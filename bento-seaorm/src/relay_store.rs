//! The outbox as a relay sees it: the queue engine, on every back end.
//!
//! One relay owns a shard by lease. It reads rows in position order and deletes what is settled, or moves it to a table of published
//! rows; where a row is, is its state. What that rests on:
//!
//! * **Nothing is skipped.** A row is read because it is there, however late its transaction committed. Only on PostgreSQL
//!   does reading begin at a bound, below which provably nothing can appear any more (see `scan`).
//! * **Nobody settles what is not theirs.** Every transaction first renews the lease by owner and epoch, which also locks its
//!   row; without it nothing else happens in that transaction. Operators lock the same row before they touch held rows.
//! * **Durable before published.** Each `advance` writes the lease and commits synchronously, so whatever it read is on disk.
//! * **Repeating is harmless.** Settling deletes and moves by position; what is gone is left alone.
//!
//! Nothing is bound to a session.

mod advance;
mod errors;
mod held;
mod leases;
mod memory;
mod pauses;
mod probe;
mod published;
mod scan;
mod settle;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use bento_core::outbox::{ShardId, Sharding};
use bento_core::relay::store::{Advance, Advanced, Heartbeat, Holdings, Prune, RelayId, RelayStore, StoreError};
use sea_orm::{ConnectionTrait, DatabaseConnection};

pub(crate) use self::errors::{StoreFailure, Tries, sharding_error, store_error};
pub(crate) use self::held::{park_or_promote, stream_of};
pub(crate) use self::leases::lanes_of;
use self::memory::Memory;
use crate::dialect::{self, Dialect};
use crate::session::{self, Shielded, StoreTransaction};
use crate::tables::Tables;

/// The outbox of a database, as a relay, an operator or a dashboard sees it.
///
/// Give it a connection of its own rather than the one that business transactions use:
///
/// * With SQLite the single writer would wait for itself. Keep `PRAGMA synchronous = FULL`, which is the default of the driver.
/// * A transaction pooler has to follow prepared statements, as pgbouncer does from 1.21 on with `max_prepared_statements = 200`; `open`
///   warns of one that does not. The store itself keeps nothing in a session.
#[derive(Debug)]
pub struct OutboxStore {
    db: Shielded,
    tables: Tables,
    expected: Option<Sharding>,
    recorded: OnceLock<Sharding>,
    memory: Memory,
}

impl OutboxStore {
    /// The outbox with the default prefix, divided as the database records.
    pub fn new(db: DatabaseConnection) -> Self {
        Self {
            db: Shielded::new(db),
            tables: Tables::default(),
            expected: None,
            recorded: OnceLock::new(),
            memory: Memory::default(),
        }
    }

    /// Another table prefix than `bento_`.
    #[must_use]
    pub fn with_tables(mut self, tables: Tables) -> Self {
        self.tables = tables;
        self
    }

    /// Insists on this division of the outbox, and records it if none is recorded. Without it, what is recorded is used, or
    /// else the default is recorded.
    #[must_use]
    pub fn with_sharding(mut self, sharding: Sharding) -> Self {
        self.expected = Some(sharding);
        self
    }

    /// The connection of the store.
    pub fn connection(&self) -> &DatabaseConnection {
        self.db.inner()
    }

    /// The connection for the statements of the store.
    pub(crate) fn db(&self) -> &Shielded {
        &self.db
    }

    pub(crate) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Begins a transaction that reads what is committed, statement by statement, and commits durably.
    pub(crate) async fn begin(&self) -> Result<(StoreTransaction, &'static dyn Dialect), StoreFailure> {
        let dialect = self.dialect()?;
        let (options, first) = (dialect.relay_transaction(), dialect.prepare_relay_transaction());
        let tx = session::begin(self.db.inner(), options, first).await?;
        Ok((StoreTransaction::new(tx), dialect))
    }

    pub(crate) fn dialect(&self) -> Result<&'static dyn Dialect, StoreError> {
        dialect::of(self.db.get_database_backend()).map_err(StoreError::unavailable)
    }
}

impl RelayStore for OutboxStore {
    async fn open(&self) -> Result<Sharding, StoreError> {
        leases::open(self).await
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<Holdings, StoreError> {
        leases::heartbeat(self, &heartbeat).await
    }

    async fn advance(&self, advance: Advance) -> Result<Advanced, StoreError> {
        advance::advance(self, advance).await
    }

    async fn probe(&self, shards: &[ShardId], without: &[Arc<str>]) -> Result<Vec<ShardId>, StoreError> {
        probe::probe(self, shards, without).await
    }

    async fn release(&self, relay: RelayId) -> Result<(), StoreError> {
        leases::release(self, relay).await
    }

    async fn prune(&self, prune: Prune) -> Result<Option<u64>, StoreError> {
        published::prune(self, prune).await
    }
}
