//! The outbox as a queue for relays, on every back end.
//!
//! One relay owns a shard by lease. It reads rows in position order, and deletes settled rows or
//! moves them to a table of published rows: the table that holds a row is its state. The rules:
//!
//! * **No row is skipped.** A row is read as long as it exists, however late its transaction
//!   committed. On PostgreSQL reading begins at a bound, below which provably no row can appear
//!   (see `scan`).
//! * **Only the owner settles.** Every transaction first renews the lease by owner and epoch, which
//!   also locks its row; without the lease the transaction does nothing else. Operators lock the
//!   same row before they change held rows.
//! * **Rows are durable before they are published.** Each `advance` writes the lease and commits
//!   synchronously, so every row that it read is on disk.
//! * **A repetition is harmless.** Settling deletes and moves rows by position, and ignores rows
//!   that are gone.
//!
//! Nothing is bound to a session.

mod advance;
mod all_shards;
mod errors;
mod handlers;
mod held;
mod leases;
mod memory;
mod one_by_one;
mod pauses;
mod poll;
mod published;
mod publishing;
mod retry_now;
mod salvage;
mod scan;
mod settle;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bento_core::outbox::{ShardId, Sharding};
use bento_relay::publish::{HandlerRoute, PoolId};
use bento_relay::store::{
    Advance, Advanced, Heartbeat, Holdings, Leftovers, Prune, RelayId, RelayStore, StoreError,
};
use sea_orm::{ConnectionTrait, DatabaseConnection};

pub(crate) use self::all_shards::{lock as lock_shards, tell as tell_shards};
pub(crate) use self::errors::{StoreFailure, retrying, sharding_error, store_error};
use self::handlers::OwnHandlers;
pub(crate) use self::handlers::{
    RECORDED, Recording, leftovers, living_relays, read as read_handlers, recorded_at, served_at,
};
pub(crate) use self::held::{park_or_promote, stream_of};
pub(crate) use self::leases::lanes_of;
use self::memory::Memory;
pub(crate) use self::publishing::forget as forget_publishers;
pub(crate) use self::salvage::DeadLetterRow;
pub(crate) use self::settle::storable;
use crate::backend;
use crate::dialect::{self, Dialect};
use crate::outbox::meta::{self, Expected};
use crate::session::{self, Shielded, StoreTransaction};
use crate::tables::{TablePrefix, Tables};

/// The outbox of a database, for relays, operators and dashboards.
///
/// Give it a connection of its own rather than the one that business transactions use:
///
/// * With SQLite the single writer would wait for itself. Keep `PRAGMA synchronous = FULL`, which
///   is the default of the driver.
/// * A transaction pooler has to follow prepared statements, as pgbouncer does from 1.21 on with
///   `max_prepared_statements = 200`; `open` warns of one that does not. The store itself keeps
///   nothing in a session.
///
/// # Cancel safety
///
/// Its calls may be dropped at any time, also those of [`Inspect`](bento_relay::inspect::Inspect)
/// or [`DeadLetters`](bento_relay::dead_letter::DeadLetters). The running statement is finished in
/// the background, and its transaction rolled back, unless the statement was the commit.
///
/// # Clones
///
/// One store serves a relay, a monitor, alerts and operators: give each of them a clone. A clone
/// costs a few reference counts, and shares the connections. It does not share the store's memory
/// of the rows that it has read, so each clone may also serve a relay of its own.
///
/// ```no_run
/// # use bento_relay::inspect::{Monitor, MonitorSettings};
/// # use bento_relay::publish::MemoryPublisher;
/// # use bento_relay::Relay;
/// # use bento_seaorm::OutboxStore;
/// # async fn start(db: sea_orm::DatabaseConnection) -> Result<(), Box<dyn std::error::Error>> {
/// let store = OutboxStore::new(db).with_application("tickets");
/// let monitor = Monitor::start(store.clone(), MonitorSettings::default());
/// let relay = Relay::builder(store, MemoryPublisher::new()).start()?;
/// # relay.stop().await?;
/// # monitor.stop().await;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct OutboxStore {
    db: Shielded,
    tables: Arc<Tables>,
    expected: Expected,
    /// The sharding of the outbox when it was opened.
    recorded: Mutex<Option<Sharding>>,
    /// True if the outbox was found to be this application's.
    is_own: AtomicBool,
    handlers: OwnHandlers,
    memory: Memory,
}

/// Makes another store on the same outbox that has read no rows yet.
impl Clone for OutboxStore {
    fn clone(&self) -> Self {
        Self {
            db: self.db.clone(),
            tables: Arc::clone(&self.tables),
            expected: self.expected.clone(),
            recorded: Mutex::default(),
            is_own: AtomicBool::default(),
            handlers: OwnHandlers::default(),
            memory: Memory::default(),
        }
    }
}

impl OutboxStore {
    /// Makes a store on the outbox with the default prefix and the recorded sharding.
    pub fn new(db: DatabaseConnection) -> Self {
        Self {
            db: Shielded::new(db),
            tables: Arc::default(),
            expected: Expected::default(),
            recorded: Mutex::default(),
            is_own: AtomicBool::default(),
            handlers: OwnHandlers::default(),
            memory: Memory::default(),
        }
    }

    /// Makes a store on the inbox with the default prefix: the events that consumers have received,
    /// for the relay that hands them to handlers, and for operators.
    ///
    /// ```no_run
    /// # use bento_relay::dead_letter::{DeadLetterQuery, DeadLetters};
    /// # use bento_seaorm::OutboxStore;
    /// # async fn look(db: sea_orm::DatabaseConnection) -> Result<(), bento_relay::StoreError> {
    /// let received = OutboxStore::inbox(db);
    /// let dead = received.list(&DeadLetterQuery::default()).await?;
    /// # let _ = dead; Ok(()) }
    /// ```
    pub fn inbox(db: DatabaseConnection) -> Self {
        let backend = db.get_database_backend();
        Self {
            tables: Arc::new(Tables::of_inbox(TablePrefix::default()).on(backend)),
            ..Self::new(db)
        }
    }

    /// A store on the outbox of the same database.
    pub(crate) fn of_outbox(&self) -> Self {
        self.on_side(self.tables.outbox_side())
    }

    /// A store on the inbox of the same database.
    pub(crate) fn of_inbox(&self) -> Self {
        self.on_side(self.tables.inbox())
    }

    /// The other side may be sharded otherwise.
    fn on_side(&self, tables: Tables) -> Self {
        let mut store = self.clone();
        if tables.is_inbox() != self.tables.is_inbox() {
            store.expected.sharding = None;
        }
        store.tables = Arc::new(tables);
        store
    }

    /// Sets the table prefix, and the schema if it names one. On SQLite every call is refused if a
    /// schema is named.
    #[must_use]
    pub fn with_table_prefix(mut self, prefix: TablePrefix) -> Self {
        let tables = self.tables.with_prefix(prefix);
        self.tables = Arc::new(tables.on(self.db.get_database_backend()));
        self
    }

    /// Sets the sharding of the outbox: it is recorded at the first use, and
    /// [`open`](RelayStore::open) is refused if the record differs. Without it the recorded
    /// sharding is used, or the default is recorded.
    #[must_use]
    pub fn with_sharding(mut self, sharding: Sharding) -> Self {
        self.expected.sharding = Some(sharding);
        self
    }

    /// Sets the name of the application, the same in all its processes. The outbox records the
    /// first name that it is given, and refuses relays and operators with another name with
    /// [`StoreError::OtherApplication`]. Without a name every record is accepted.
    #[must_use]
    pub fn with_application(mut self, name: impl Into<String>) -> Self {
        self.expected.application = Some(name.into());
        self.is_own = AtomicBool::default();
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

    pub(crate) fn expected(&self) -> &Expected {
        &self.expected
    }

    /// Begins a transaction at READ COMMITTED that commits durably.
    pub(crate) async fn begin(
        &self,
    ) -> Result<(StoreTransaction, &'static dyn Dialect), StoreFailure> {
        self.begin_until(None).await
    }

    /// Begins such a transaction. The database ends it when its session is idle for longer than
    /// this, where it has such a limit.
    pub(crate) async fn begin_until(
        &self,
        idle: Option<Duration>,
    ) -> Result<(StoreTransaction, &'static dyn Dialect), StoreFailure> {
        self.check_owner().await?;
        let dialect = self.dialect()?;
        let options = dialect.relay_transaction();
        let first = dialect.prepare_relay_transaction().map(str::to_owned);
        let limit = idle.and_then(|idle| dialect.prepare_handler_transaction(idle));
        let first: Vec<_> = limit.into_iter().chain(first).collect();
        let first = (!first.is_empty()).then(|| first.join("; ").into());
        let tx = session::begin(self.db.inner(), options, first).await?;
        Ok((StoreTransaction::new(tx), dialect))
    }

    /// Refuses the outbox of another application: one statement, until the outbox was found to
    /// belong to this one.
    pub(crate) async fn check_owner(&self) -> Result<(), StoreError> {
        if self.expected.application.is_none() || self.is_own.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(recorded) = meta::read(&self.db, &self.tables)
            .await
            .map_err(sharding_error)?
        {
            self.expected.check(&recorded).map_err(sharding_error)?;
        }
        self.is_own.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn recorded(&self) -> MutexGuard<'_, Option<Sharding>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn dialect(&self) -> Result<&'static dyn Dialect, StoreError> {
        dialect::for_tables(self.db.get_database_backend(), &self.tables)
            .map_err(StoreError::unavailable)
    }
}

impl RelayStore for OutboxStore {
    fn named(self, application: &str) -> Self {
        self.with_application(application)
    }

    /// Nothing for SQLite: a database in memory has one connection for everybody.
    fn pool(&self) -> Option<PoolId> {
        backend::pool(self.db.inner())
    }

    async fn open(&self) -> Result<Sharding, StoreError> {
        leases::open(self).await
    }

    async fn is_published(&self) -> Result<bool, StoreError> {
        publishing::is_recorded(self).await
    }

    async fn record_handlers(&self, handlers: &[HandlerRoute]) -> Result<(), StoreError> {
        self.handlers.set(handlers);
        handlers::record(self, handlers).await
    }

    async fn leftovers(&self) -> Result<Vec<(Arc<str>, Leftovers)>, StoreError> {
        Ok(handlers::leftovers(self).await?.into_iter().collect())
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<Holdings, StoreError> {
        leases::heartbeat(self, &heartbeat).await
    }

    async fn advance(&self, advance: Advance) -> Result<Advanced, StoreError> {
        advance::advance(self, advance).await
    }

    async fn poll(
        &self,
        shards: &[ShardId],
        without: &[Arc<str>],
    ) -> Result<Vec<ShardId>, StoreError> {
        poll::poll(self, shards, without).await
    }

    async fn release(&self, relay: RelayId) -> Result<(), StoreError> {
        leases::release(self, relay).await
    }

    async fn prune(&self, prune: Prune) -> Result<Option<u64>, StoreError> {
        published::prune(self, prune).await
    }
}
