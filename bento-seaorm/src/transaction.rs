//! The transaction that carries an outbox.
//!
//! One physical transaction has one unit of work; each [`OutboxTransaction`] is one frame of it,
//! the outermost transaction or a savepoint. The rules of the unit of work are those of
//! [`bento_core::unit_of_work`]. The transaction adds:
//!
//! 1. A frame that is dropped is rolled back, whatever the order in which frames are dropped and
//!    the statements in flight: a savepoint before the next statement on the connection, the
//!    outermost transaction when the last of its frames is gone.
//! 2. A commit flushes, commits, and then forgets the events. If one of these fails, everything is
//!    rolled back.
//! 3. A statement that failed, or was cancelled before its answer came, is noted.
//! 4. A transaction that the database has ended refuses every further statement, so that none is
//!    executed outside of it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bento_core::EventId;
use bento_core::unit_of_work::{FrameId, Opener, UnitOfWork};
use bytes::Bytes;
use sea_orm::{AccessMode, DatabaseTransaction, DbErr, IsolationLevel, TransactionOptions};

use self::health::{Contention, Savepoint};
use self::physical::Physical;
use crate::error::{Error, TransactionError};
use crate::session::Session;
use crate::settings::Settings;
use crate::tables::Tables;

mod background;
mod closure;
mod collected;
mod commit;
mod control;
mod event_sourced;
mod health;
mod physical;
mod saving;
mod statements;
mod traits;

pub(crate) use self::closure::{run, run_async};
pub use self::collected::Collected;
pub use self::saving::SavedModel;
pub use self::statements::TransactionStream;

/// A transaction whose commit writes the events raised in it, and whose rollback forgets them.
///
/// It implements SeaORM's `ConnectionTrait`, `StreamTrait`, `TransactionTrait` and
/// `TransactionSession`. Beginning on it opens a savepoint. Dropping it rolls it back.
///
/// `raise` finds the transaction by its scope, which `transaction`, `transaction_async` and the
/// like set, and [`scope`](Self::scope). An event that is raised in a scope is published even if
/// its aggregate is never saved. Outside any scope an aggregate keeps its events until
/// [`collect`](Self::collect).
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
/// # use bento_relay::inspect::Inspect;
/// # use bento_seaorm::{OutboxConnection, OutboxStore, migrate};
/// # let database = sea_orm::Database::connect("sqlite::memory:").await?;
/// # migrate(&database).await?;
/// # let schema = sea_orm::Schema::new(sea_orm::DbBackend::Sqlite);
/// # let orders = schema.create_table_from_entity(Entity);
/// # database.execute(&orders).await?;
/// # let db = OutboxConnection::new(database);
/// let tx = db.begin().await?;
/// let mut order = Model { id: 0, events: PendingEvents::default() };
/// order.raise(OrderPlaced {});
/// tx.insert(&mut order).await?;
///
/// // A nested transaction is a savepoint. Its rollback forgets its own events only.
/// let nested = tx.begin().await?;
/// let mut second = Model { id: 0, events: PendingEvents::default() };
/// second.raise(OrderPlaced {});
/// nested.insert(&mut second).await?;
/// nested.rollback().await?;
///
/// tx.commit().await?;
/// # let store = OutboxStore::new(db.inner().clone());
/// assert_eq!(store.counts().await?.pending, 1);
/// # Ok(())
/// # }
/// ```
///
/// # Failed statements
///
/// A failed statement makes the events raised before it doubtful: they may tell of something that
/// did not happen. So does a statement whose future was dropped before the answer came, although it
/// runs to its end. [`commit`](Self::commit) is refused then. Put statements that may fail or be
/// cancelled into a nested transaction, whose rollback settles the doubt, or decide with
/// [`keep_pending`](Self::keep_pending) or [`discard_pending`](Self::discard_pending).
///
/// A nested transaction that is begun through SeaORM's `TransactionTrait`, as `ActiveModelEx` does
/// for every `save`, does not settle its failure: the caller sees one operation that failed.
///
/// # Cancel safety
///
/// Its futures may be dropped at any time. The running statement is finished in the background, the
/// next statement of the transaction waits for it, and the events raised before it are doubtful. If
/// the transaction is rolled back and the statement takes more than ten seconds longer, it is given
/// up with its connection.
pub struct OutboxTransaction {
    physical: Arc<Physical>,
    frame: FrameId,
    savepoint: Option<Savepoint>,
    is_over: bool,
}

impl OutboxTransaction {
    /// Takes over a transaction that was begun elsewhere, for the tables `bento_…`;
    /// [`OutboxConnection::adopt`](crate::OutboxConnection::adopt) knows other settings, wakes the
    /// relay, and reads the sharding of the outbox only once. Give the outermost transaction: only
    /// its commit decides about the events.
    pub fn adopt(transaction: DatabaseTransaction) -> Self {
        Self::open(transaction, Arc::default())
    }

    pub(crate) fn open(transaction: DatabaseTransaction, settings: Arc<Settings>) -> Self {
        let (unit_of_work, frame) = UnitOfWork::open();
        unit_of_work.set_owner(settings.owner());
        Self {
            physical: Arc::new(Physical::new(transaction, unit_of_work, settings)),
            frame,
            savepoint: None,
            is_over: false,
        }
    }

    /// Runs `future` in the scope of this transaction: its events belong to the innermost open
    /// nested transaction.
    ///
    /// `tokio::join!` inside sees the scope, `tokio::spawn` does not: carry
    /// [`unit_of_work`](Self::unit_of_work) there.
    ///
    /// # Cancel safety
    /// It is as cancel safe as `future`. The transaction and the events raised until then stay as
    /// they are.
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        self.physical.unit_of_work().scope(future)
    }

    /// The unit of work, to be carried into spawned tasks.
    pub fn unit_of_work(&self) -> &UnitOfWork {
        self.physical.unit_of_work()
    }

    /// Shares the aggregate's pending events with this transaction: commit empties the list,
    /// rollback, drop or a failed commit gives it back.
    ///
    /// An `ActiveModel` has no events, so the model is collected before it becomes one:
    ///
    /// ```compile_fail,E0277
    /// # use sea_orm::entity::prelude::*;
    /// # #[sea_orm::model]
    /// # #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    /// # #[sea_orm(table_name = "orders")]
    /// # pub struct Model { #[sea_orm(primary_key)] pub id: i64 }
    /// # impl ActiveModelBehavior for ActiveModel {}
    /// # fn example(tx: &bento_seaorm::OutboxTransaction, order: Model) {
    /// let mut order = order.into_active_model();
    /// tx.collect(&mut order); // `ActiveModel` has no pending events to be collected
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Frame`] while a nested transaction is open.
    pub fn collect(&self, aggregate: &mut impl Collected) -> Result<(), Error> {
        Ok(self
            .unit_of_work()
            .collect(self.frame, aggregate.pending_events_mut())?)
    }

    /// Writes bytes that have no Rust type with the same flush. They are published under `topic`,
    /// in order with others of the same `key` unless it is empty.
    ///
    /// # Errors
    /// [`Error::Frame`] while a nested transaction is open.
    #[track_caller]
    pub fn enqueue(&self, topic: &str, key: &str, payload: impl Into<Bytes>) -> Result<(), Error> {
        Ok(self
            .unit_of_work()
            .enqueue(self.frame, topic, key, payload.into())?)
    }

    /// Binds the whole transaction to a tenant: an event of another tenant is refused at flush, one
    /// without a tenant gets this one. A transaction begun in a `Metadata` scope with a tenant is
    /// bound to it from the start.
    ///
    /// # Errors
    /// [`Error::Frame`] with `OtherTenant` if it is bound to another tenant already.
    pub fn bind_tenant(&self, tenant_id: impl Into<String>) -> Result<(), Error> {
        Ok(self.unit_of_work().bind_tenant(tenant_id)?)
    }

    /// Confirms that doubtful events did happen.
    ///
    /// # Errors
    /// [`Error::Frame`] while a nested transaction is open.
    pub fn keep_pending(&self) -> Result<(), Error> {
        Ok(self.unit_of_work().keep_pending(self.frame)?)
    }

    /// Drops the events of this transaction that are not flushed; they did not happen.
    ///
    /// # Errors
    /// [`Error::Frame`] while a nested transaction is open, and when events are flushed already.
    pub fn discard_pending(&self) -> Result<(), Error> {
        Ok(self.unit_of_work().discard_pending(self.frame)?)
    }

    /// Writes the events that are raised so far; the commit writes the rest. It costs one
    /// statement, up to the back end's bind limit.
    ///
    /// The relay publishes an aggregate's events in the order of their rows. That is the order in
    /// which they happened if the aggregate's row is written or locked before the flush; an early
    /// flush without that gives the order up against concurrent writers.
    ///
    /// # Errors
    /// [`Error`]; the events stay pending.
    ///
    /// # Cancel safety
    /// The statement is finished in the background. Its events stay pending, so that the next flush
    /// or the commit writes those that are not known.
    pub async fn flush(&self) -> Result<(), Error> {
        self.physical.flush(self.frame).await
    }

    /// Flushes and commits. A nested transaction hands its events to the one around it.
    ///
    /// # Errors
    /// [`Error`]; except for [`Error::CommitUnclear`] everything is rolled back, and collected
    /// events are back with their aggregates.
    ///
    /// # Cancel safety
    /// The commit goes on in the background if it was on its way, with all of its rows and events
    /// or none; otherwise everything is rolled back. Collected events are back with their
    /// aggregates then. They keep their ids: collecting them again writes none twice as long as the
    /// first are in the outbox.
    pub async fn commit(self) -> Result<(), Error> {
        match self.savepoint {
            Some(savepoint) => commit::release(self, savepoint).await,
            None => commit::commit(self).await,
        }
    }

    /// Notes from now on which events are written to the outbox.
    #[doc(hidden)]
    pub fn note_events(&self) {
        self.physical.note_events();
    }

    /// Flushes, and returns the events that were written since they are noted.
    pub(crate) async fn flush_noted(&self) -> Result<Vec<EventId>, Error> {
        self.flush().await?;
        Ok(self.physical.noted_events())
    }

    /// Runs a statement of Bento's own in this transaction.
    pub(crate) async fn run_own<T, F>(
        &self,
        statement: impl FnOnce(Session) -> F,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, DbErr>> + Send + 'static,
    {
        let session = self.physical.session().clone();
        self.physical.run_own(self.frame, statement(session)).await
    }

    /// The tables of Bento beside this transaction.
    pub(crate) fn tables(&self) -> &Tables {
        self.physical.settings().writer.tables()
    }

    /// Rolls back, together with what is nested in it. Collected events are back with their
    /// aggregates.
    ///
    /// # Errors
    /// [`Error::Database`]; it is rolled back nevertheless when the connection is given back.
    ///
    /// # Cancel safety
    /// It is rolled back nevertheless, in the background.
    pub async fn rollback(self) -> Result<(), Error> {
        commit::rollback(self).await
    }

    /// Begins a nested transaction, a savepoint. Rolling it back settles what failed in it.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// A savepoint that is on its way is finished in the background, and counts as a statement that
    /// failed.
    pub async fn begin(&self) -> Result<Self, Error> {
        self.nest(Opener::Caller).await
    }

    /// Begins a nested transaction; it cannot have an isolation level or access mode of its own.
    ///
    /// # Errors
    /// [`Error::NestedOptions`] if either is given.
    ///
    /// # Cancel safety
    /// A savepoint that is on its way is finished in the background, and counts as a statement that
    /// failed.
    pub async fn begin_with_config(
        &self,
        isolation_level: Option<IsolationLevel>,
        access_mode: Option<AccessMode>,
    ) -> Result<Self, Error> {
        refuse_options(isolation_level, access_mode)?;
        self.begin().await
    }

    /// Begins a nested transaction; it cannot have an isolation level or access mode of its own.
    /// SQLite's mode is ignored.
    ///
    /// # Errors
    /// [`Error::NestedOptions`] if either is given.
    ///
    /// # Cancel safety
    /// A savepoint that is on its way is finished in the background, and counts as a statement that
    /// failed.
    pub async fn begin_with_options(&self, options: TransactionOptions) -> Result<Self, Error> {
        self.begin_with_config(options.isolation_level, options.access_mode)
            .await
    }

    /// Runs `callback` in a nested transaction.
    ///
    /// # Errors
    /// [`TransactionError`]; the outer transaction goes on as if the nested one had not been.
    ///
    /// # Cancel safety
    /// The nested transaction is rolled back before the next statement. A statement that is on its
    /// way is finished in the background.
    pub async fn transaction<F, T, E>(&self, callback: F) -> Result<T, TransactionError<E>>
    where
        F: for<'c> FnOnce(&'c Self) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>
            + Send,
        T: Send,
        E: Send,
    {
        run(self.begin().await?, callback).await
    }

    /// [`transaction`](Self::transaction) with an async closure.
    ///
    /// # Errors
    /// [`TransactionError`].
    ///
    /// # Cancel safety
    /// The nested transaction is rolled back before the next statement. A statement that is on its
    /// way is finished in the background.
    pub async fn transaction_async<F, T, E>(&self, callback: F) -> Result<T, TransactionError<E>>
    where
        F: for<'c> AsyncFnOnce(&'c Self) -> Result<T, E>,
    {
        run_async(self.begin().await?, callback).await
    }

    /// Returns a handle that tells if another transaction was in the way, or a save met another
    /// version, also when this one is over.
    pub(crate) fn contention(&self) -> Contention {
        self.physical.contention()
    }

    /// True if its session takes no statement any more.
    pub(crate) fn is_unfit(&self) -> bool {
        self.physical.session().is_unfit()
    }

    async fn nest(&self, opener: Opener) -> Result<Self, Error> {
        let (frame, savepoint) = self.physical.open_savepoint(self.frame, opener).await?;
        Ok(Self {
            physical: Arc::clone(&self.physical),
            frame,
            savepoint: Some(savepoint),
            is_over: false,
        })
    }

    /// Leaves the frame as it is.
    fn close(mut self) -> Arc<Physical> {
        self.is_over = true;
        Arc::clone(&self.physical)
    }
}

fn refuse_options(
    isolation_level: Option<IsolationLevel>,
    access_mode: Option<AccessMode>,
) -> Result<(), Error> {
    match (isolation_level, access_mode) {
        (None, None) => Ok(()),
        _ => Err(Error::NestedOptions),
    }
}

impl Drop for OutboxTransaction {
    fn drop(&mut self) {
        if !self.is_over {
            self.physical.abandon(self.frame, self.savepoint);
        }
    }
}

impl fmt::Debug for OutboxTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxTransaction")
            .field("frame", &self.frame)
            .finish_non_exhaustive()
    }
}
