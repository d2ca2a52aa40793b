//! The connection whose transactions carry an outbox.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bento_core::outbox::Sharding;
use bento_core::pending;
use bento_core::unit_of_work::UnitOfWork;
use bento_relay::Wake;
use bento_relay::publish::PoolId;
use bento_relay::telemetry;
use bento_relay::tenant::TenantPolicy;
use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, IsolationLevel,
    TransactionOptions,
};

use crate::backend;
use crate::dialect;
use crate::error::{Error, TransactionError};
use crate::outbox::meta::Expected;
use crate::session::{self, Shielded};
use crate::settings::Settings;
use crate::tables::{TablePrefix, Tables};
use crate::transaction::{OutboxTransaction, run, run_async};

mod retrying;
mod traits;

pub use crate::session::ConnectionStream;

/// A `DatabaseConnection` whose transactions write what was raised in them into the outbox. Cheap
/// to clone.
///
/// It implements SeaORM's `ConnectionTrait`, `StreamTrait` and `TransactionTrait`. Statements
/// outside a transaction go straight to the connection and have no outbox: the events of an
/// aggregate that is saved that way are lost, with a warning.
///
/// Inside the scope of one of its transactions use that transaction. A statement on the connection
/// itself would run outside the transaction, and would wait for ever with SQLite or a pool of one
/// connection. Such a use logs a warning, and panics under `bento_testkit::strict()`. For a
/// statement that is independent of the transaction use [`inner`](Self::inner).
///
/// ```
/// # use bento_core::{PendingEvents, aggregate, domain_event};
/// # use sea_orm::entity::prelude::*;
/// # #[domain_event(schema = "order.placed", version = 1)]
/// # #[derive(Debug)]
/// # pub struct OrderPlaced {}
/// # #[aggregate(events(OrderPlaced), name = "order")]
/// # #[sea_orm::model]
/// # #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
/// # #[sea_orm(table_name = "orders")]
/// # pub struct Model {
/// #     #[sea_orm(primary_key)]
/// #     pub id: i64,
/// #     #[sea_orm(ignore)]
/// #     pub events: PendingEvents,
/// # }
/// # impl ActiveModelBehavior for ActiveModel {}
/// # #[cfg(not(feature = "sqlite"))]
/// # fn main() {}
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use bento_relay::inspect::Inspect;
/// use bento_seaorm::{Error, OutboxConnection, OutboxStore, migrate};
///
/// let database = sea_orm::Database::connect("sqlite::memory:").await?;
/// migrate(&database).await?;
/// # let schema = sea_orm::Schema::new(sea_orm::DbBackend::Sqlite);
/// # let orders = schema.create_table_from_entity(Entity);
/// # database.execute(&orders).await?;
/// let db = OutboxConnection::new(database);
///
/// let mut order = Model { id: 0, events: PendingEvents::default() };
/// order.raise(OrderPlaced {});
/// db.transaction_async(async |tx| {
///     tx.insert(&mut order).await?;
///     Ok::<_, Error>(())
/// })
/// .await?;
/// // The row and the event were committed together.
/// let store = OutboxStore::new(db.inner().clone());
/// assert_eq!(store.counts().await?.pending, 1);
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// Its futures may be dropped at any time. A statement outside of a transaction is finished in the
/// background, and so is the next row of a stream, before their connection goes back to the pool.
#[derive(Clone, Debug)]
pub struct OutboxConnection {
    inner: Shielded,
    pub(crate) settings: Arc<Settings>,
}

/// Builds an [`OutboxConnection`] that differs from the defaults.
#[derive(Debug)]
#[must_use = "call `build`"]
pub struct OutboxConnectionBuilder {
    inner: DatabaseConnection,
    prefix: TablePrefix,
    expected: Expected,
    wake: Option<Wake>,
    policy: Option<Box<dyn TenantPolicy>>,
}

impl OutboxConnectionBuilder {
    /// The beginning of the names of Bento's tables, `bento_` by default, and their schema if it
    /// names one: then the outbox is found whatever the `search_path` of a transaction is.
    ///
    /// On SQLite every flush is refused with [`Error::NoSchemas`] if a schema is named.
    pub fn table_prefix(mut self, prefix: TablePrefix) -> Self {
        self.prefix = prefix;
        self
    }

    /// The number of shards and lanes of the outbox. The database records it at the first use; a
    /// flush is refused with [`Error::ShardingMismatch`] if the record differs. Without this
    /// setting the recorded sharding is used, and at the first use 16 shards in one lane.
    pub fn sharding(mut self, sharding: Sharding) -> Self {
        self.expected.sharding = Some(sharding);
        self
    }

    /// The name of the application, the same in all its processes. The outbox records the first
    /// name that it is given, and refuses a process with another name with
    /// [`Error::OtherApplication`] at its first flush. Without a name every record is accepted.
    ///
    /// Without names two applications that share a database and a prefix publish each other's
    /// events.
    pub fn application(mut self, name: impl Into<String>) -> Self {
        self.expected.application = Some(name.into());
        self
    }

    /// The relay in this process that each commit wakes for the shards with new events. Otherwise
    /// it sees them at its next poll.
    pub fn wake(mut self, wake: impl Into<Wake>) -> Self {
        self.wake = Some(wake.into());
        self
    }

    /// The policy that is asked before a transaction begins: it decides if the actor of the ambient
    /// `Metadata` may [write](bento_relay::tenant::TenantAction::Write) for its tenant. The policy
    /// is not asked about nested transactions, about a transaction that is
    /// [adopted](OutboxConnection::adopt), or about one that is bound to a tenant after it began.
    ///
    /// ```
    /// # use bento_relay::tenant::{Refusal, TenantRequest};
    /// # use bento_seaorm::OutboxConnection;
    /// # fn guarded(database: sea_orm::DatabaseConnection) -> OutboxConnection {
    /// OutboxConnection::builder(database)
    ///     .tenant_policy(|request: &TenantRequest| match request.tenant {
    ///         Some(_) => Ok(()),
    ///         None => Err(Refusal::new("every request has a tenant")),
    ///     })
    ///     .build()
    /// # }
    /// ```
    pub fn tenant_policy(mut self, policy: impl TenantPolicy) -> Self {
        self.policy = Some(Box::new(policy));
        self
    }

    /// The connection.
    pub fn build(self) -> OutboxConnection {
        let tables = Tables::new(self.prefix).on(self.inner.get_database_backend());
        let settings = Settings::new(tables, self.expected, self.wake, self.policy);
        OutboxConnection {
            inner: Shielded::new(self.inner),
            settings: Arc::new(settings),
        }
    }
}

impl OutboxConnection {
    /// Wraps a connection, with the tables `bento_…`.
    pub fn new(inner: DatabaseConnection) -> Self {
        Self::builder(inner).build()
    }

    /// Wraps a connection with other settings.
    pub fn builder(inner: DatabaseConnection) -> OutboxConnectionBuilder {
        OutboxConnectionBuilder {
            inner,
            prefix: TablePrefix::default(),
            expected: Expected::default(),
            wake: None,
            policy: None,
        }
    }

    /// The connection itself, for statements that are meant to be independent of any transaction
    /// around them.
    pub fn inner(&self) -> &DatabaseConnection {
        self.inner.inner()
    }

    /// Asks the database for an answer, for a readiness probe.
    ///
    /// # Errors
    /// The error of SeaORM: the database does not answer, or no connection was free in time.
    ///
    /// # Cancel safety
    /// The question is answered in the background.
    pub async fn ping(&self) -> Result<(), DbErr> {
        let db = self.inner().clone();
        session::to_the_end(async move { db.ping().await }).await
    }

    /// Closes the connections, for every clone of this and of the SeaORM connection in it.
    ///
    /// # Errors
    /// The error of SeaORM.
    ///
    /// # Cancel safety
    /// No new connections are handed out, and those in use are closed when they come back.
    pub async fn close(self) -> Result<(), DbErr> {
        self.inner().clone().close().await
    }

    /// Takes over a transaction that was begun elsewhere. Give the outermost one: only its commit
    /// decides about the events.
    pub fn adopt(&self, transaction: DatabaseTransaction) -> OutboxTransaction {
        OutboxTransaction::open(transaction, Arc::clone(&self.settings))
    }

    /// Begins a transaction. With SQLite it is IMMEDIATE, so that it does not fail at its first
    /// write beside a relay.
    ///
    /// There is no scope around the code that follows: hand over each aggregate with
    /// [`collect`](OutboxTransaction::collect), or run the work in
    /// [`scope`](OutboxTransaction::scope).
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Refused`].
    ///
    /// # Cancel safety
    /// A transaction that has begun is rolled back in the background.
    pub async fn begin(&self) -> Result<OutboxTransaction, Error> {
        self.begin_with_options(TransactionOptions::default()).await
    }

    /// Begins a transaction with an isolation level or access mode. With SQLite a read-only one is
    /// DEFERRED.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Refused`].
    ///
    /// # Cancel safety
    /// A transaction that has begun is rolled back in the background.
    pub async fn begin_with_config(
        &self,
        isolation_level: Option<IsolationLevel>,
        access_mode: Option<AccessMode>,
    ) -> Result<OutboxTransaction, Error> {
        self.begin_with_options(TransactionOptions {
            isolation_level,
            access_mode,
            sqlite_transaction_mode: None,
        })
        .await
    }

    /// Begins a transaction with options. With SQLite it is IMMEDIATE unless they say otherwise.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Refused`].
    ///
    /// # Cancel safety
    /// A transaction that has begun is rolled back in the background.
    pub async fn begin_with_options(
        &self,
        options: TransactionOptions,
    ) -> Result<OutboxTransaction, Error> {
        let backend = self.inner.get_database_backend();
        let options = backend::to_begin(backend, options);
        // A handler's limit would end a transaction of the service that does other work for long.
        let first = match self.settings.limits_idle() {
            true => dialect::of(backend)?.lift_idle_limit(),
            false => None,
        };
        self.begin_first(options, first.map(Cow::Borrowed)).await
    }

    /// Begins a transaction, and runs its first statements in one round trip.
    pub(crate) async fn begin_first(
        &self,
        options: TransactionOptions,
        first: Option<Cow<'static, str>>,
    ) -> Result<OutboxTransaction, Error> {
        self.warn_inside_own_scope();
        self.settings.ask()?;
        let transaction = session::begin(self.inner(), options, first).await?;
        Ok(self.adopt(transaction))
    }

    /// Runs `callback` in a transaction and its scope: what is raised in there is in the outbox if
    /// it returns `Ok` and the commit succeeds, and nowhere otherwise.
    ///
    /// # Errors
    /// [`TransactionError`].
    ///
    /// # Cancel safety
    /// The transaction is rolled back, unless its commit was on its way: that goes on in the
    /// background and happens as a whole or not at all. Collected events are back with their
    /// aggregates.
    pub async fn transaction<F, T, E>(&self, callback: F) -> Result<T, TransactionError<E>>
    where
        F: for<'c> FnOnce(
                &'c OutboxTransaction,
            ) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>
            + Send,
        T: Send,
        E: Send,
    {
        run(self.begin().await?, callback).await
    }

    /// [`transaction`](Self::transaction) with an isolation level or access mode.
    ///
    /// # Errors
    /// [`TransactionError`].
    ///
    /// # Cancel safety
    /// The transaction is rolled back, unless its commit was on its way: that goes on in the
    /// background and happens as a whole or not at all. Collected events are back with their
    /// aggregates.
    pub async fn transaction_with_config<F, T, E>(
        &self,
        callback: F,
        isolation_level: Option<IsolationLevel>,
        access_mode: Option<AccessMode>,
    ) -> Result<T, TransactionError<E>>
    where
        F: for<'c> FnOnce(
                &'c OutboxTransaction,
            ) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>
            + Send,
        T: Send,
        E: Send,
    {
        run(
            self.begin_with_config(isolation_level, access_mode).await?,
            callback,
        )
        .await
    }

    /// [`transaction`](Self::transaction) with an async closure.
    ///
    /// # Errors
    /// [`TransactionError`].
    ///
    /// # Cancel safety
    /// The transaction is rolled back, unless its commit was on its way: that goes on in the
    /// background and happens as a whole or not at all. Collected events are back with their
    /// aggregates.
    pub async fn transaction_async<F, T, E>(&self, callback: F) -> Result<T, TransactionError<E>>
    where
        F: for<'c> AsyncFnOnce(&'c OutboxTransaction) -> Result<T, E>,
    {
        run_async(self.begin().await?, callback).await
    }

    /// [`transaction_async`](Self::transaction_async) with an isolation level or access mode.
    ///
    /// # Errors
    /// [`TransactionError`].
    ///
    /// # Cancel safety
    /// The transaction is rolled back, unless its commit was on its way: that goes on in the
    /// background and happens as a whole or not at all. Collected events are back with their
    /// aggregates.
    pub async fn transaction_with_config_async<F, T, E>(
        &self,
        callback: F,
        isolation_level: Option<IsolationLevel>,
        access_mode: Option<AccessMode>,
    ) -> Result<T, TransactionError<E>>
    where
        F: for<'c> AsyncFnOnce(&'c OutboxTransaction) -> Result<T, E>,
    {
        run_async(
            self.begin_with_config(isolation_level, access_mode).await?,
            callback,
        )
        .await
    }

    /// [`transaction_async`](Self::transaction_async) with options: isolation level, access mode,
    /// SQLite's mode.
    ///
    /// # Errors
    /// [`TransactionError`].
    ///
    /// # Cancel safety
    /// The transaction is rolled back, unless its commit was on its way: that goes on in the
    /// background and happens as a whole or not at all. Collected events are back with their
    /// aggregates.
    pub async fn transaction_with_options_async<F, T, E>(
        &self,
        callback: F,
        options: TransactionOptions,
    ) -> Result<T, TransactionError<E>>
    where
        F: for<'c> AsyncFnOnce(&'c OutboxTransaction) -> Result<T, E>,
    {
        run_async(self.begin_with_options(options).await?, callback).await
    }

    /// The connection for statements of Bento's own.
    pub(crate) fn shielded(&self) -> &Shielded {
        &self.inner
    }

    /// The tables of Bento beside this connection.
    pub(crate) fn tables(&self) -> &Tables {
        self.settings.writer.tables()
    }

    /// The most connections of the pool; `None` for SQLite, where one transaction writes at a time.
    #[doc(hidden)]
    pub fn pool_size(&self) -> Option<u32> {
        backend::max_connections(self.inner())
    }

    /// The prefix and the schema of the tables of Bento.
    pub fn table_prefix(&self) -> &TablePrefix {
        self.tables().prefix()
    }

    /// The identity of the pool; `None` for SQLite.
    #[doc(hidden)]
    pub fn pool(&self) -> Option<PoolId> {
        backend::pool(self.inner())
    }

    fn warn_inside_own_scope(&self) {
        let is_own = |scope: UnitOfWork| scope.owner() == Some(self.settings.owner());
        if UnitOfWork::current().is_some_and(is_own) {
            tracing::warn!(
                target: telemetry::TARGET_FLUSH,
                "the outer connection is used inside the scope of its own transaction; use the \
                 transaction, or `inner()` for a statement that is independent of it",
            );
            assert!(
                !pending::is_strict(),
                "the outer connection is used inside the scope of its own transaction"
            );
        }
    }
}
