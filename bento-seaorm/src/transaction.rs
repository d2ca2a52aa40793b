//! The transaction that carries an outbox.
//!
//! One physical transaction has one unit of work; each [`OutboxTransaction`] is one frame of it,
//! the outermost transaction or a savepoint. The rules of the unit of work are those of
//! [`bento_core::unit_of_work`]; what is added here:
//!
//! 1. A frame that is dropped is rolled back, in whatever order frames are dropped and whatever is
//!    in flight: a savepoint before the next statement on the connection, the outermost transaction
//!    when the last of its frames is gone.
//! 2. A commit flushes, commits, and only then forgets the events; if any of that fails everything
//!    is rolled back.
//! 3. A statement that failed, or was cancelled before its answer came, is noted.
//! 4. A transaction that the database ended by itself accepts nothing more, so that nothing is
//!    written outside of it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bento_core::unit_of_work::{FrameId, Opener, UnitOfWork};
use bytes::Bytes;
use sea_orm::{AccessMode, DatabaseTransaction, IsolationLevel, TransactionOptions};

use self::health::Savepoint;
use self::physical::{Contention, Physical};
use crate::error::{Error, TransactionError};
use crate::settings::Settings;

mod background;
mod closure;
mod collected;
mod commit;
mod control;
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
/// The scope in which `raise` finds it is set by `transaction`, `transaction_async` and their kin,
/// and by [`scope`](Self::scope). Raising in a scope publishes the event even if the aggregate is
/// never saved. Outside any scope an aggregate keeps what it raised until
/// [`collect`](Self::collect).
///
/// # Failed statements
///
/// A statement that failed makes the events raised before it doubtful: they may say what did not
/// happen. So does one whose future was dropped before the answer came; it runs to its end
/// nevertheless. [`commit`](Self::commit) is refused then. Put what may fail or be cancelled into a
/// nested transaction, whose rollback settles it, or decide with
/// [`keep_pending`](Self::keep_pending) or [`discard_pending`](Self::discard_pending).
///
/// A nested transaction that is begun through SeaORM's `TransactionTrait`, as `ActiveModelEx` does
/// for every `save`, does not settle its failure: the caller sees one operation that failed.
///
/// # Cancel safety
///
/// A future of it may be dropped at any time. A statement that is on its way is finished in the
/// background, what comes after it on the transaction waits for it, and the events raised before it
/// are doubtful. It is given up, with its connection, if the transaction is rolled back and it
/// takes more than ten seconds longer.
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

    /// Runs `future` in the scope of this transaction: what it raises belongs to the innermost open
    /// nested transaction.
    ///
    /// `tokio::join!` inside sees the scope, `tokio::spawn` does not: carry
    /// [`unit_of_work`](Self::unit_of_work) there.
    ///
    /// # Cancel safety
    /// It is as cancel safe as `future`. The transaction and what was raised until then stay as
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

    /// Says that doubtful events did happen.
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

    /// Writes now what is raised so far; commit writes the rest. One statement up to the back end's
    /// bind limit.
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

    /// Tells, also when the transaction is over, whether another one was in its way.
    pub(crate) fn contention(&self) -> Contention {
        self.physical.contention()
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
