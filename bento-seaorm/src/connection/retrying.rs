//! Transactions that are run again when another one was in the way.

use bento_relay::retry::RetryPolicy;
use bento_relay::telemetry;
use sea_orm::{ConnectionTrait, DbErr};

use super::OutboxConnection;
use crate::backend;
use crate::error::{Error, TransactionError};
use crate::transaction::{OutboxTransaction, run_async};

impl OutboxConnection {
    /// Runs [`transaction_async`](Self::transaction_async), and runs it again in a new transaction
    /// if another transaction was in its way: after a deadlock, a serialization failure, a timeout
    /// of a lock, or [`Error::Conflict`] of a save.
    ///
    /// The policy sets the number of attempts and the waits between them. The captures of the
    /// closure are cloned for each attempt, and its effects outside the transaction happen at each
    /// attempt. The transaction notes such a failure itself, so the closure may return any error
    /// for it. A closure that fails for another reason is not run again, nor is one whose commit
    /// has no clear outcome ([`Error::CommitUnclear`]) or whose connection was lost.
    ///
    /// ```
    /// # use bento_core::{PendingEvents, aggregate, domain_event};
    /// # use sea_orm::entity::prelude::*;
    /// # #[domain_event(schema = "order.paid", version = 1)]
    /// # #[derive(Debug)]
    /// # pub struct OrderPaid {}
    /// # #[aggregate(events(OrderPaid), name = "order")]
    /// # #[sea_orm::model]
    /// # #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    /// # #[sea_orm(table_name = "orders")]
    /// # pub struct Model {
    /// #     #[sea_orm(primary_key)]
    /// #     pub id: i64,
    /// #     #[aggregate(version)]
    /// #     pub version: i64,
    /// #     #[sea_orm(ignore)]
    /// #     pub events: PendingEvents,
    /// # }
    /// # impl ActiveModelBehavior for ActiveModel {}
    /// # impl Model { fn pay(&mut self) { self.raise(OrderPaid {}) } }
    /// use bento_relay::retry::RetryPolicy;
    /// # use bento_seaorm::{Error, OutboxConnection, TransactionError};
    ///
    /// # async fn pay(db: OutboxConnection, id: i64) -> Result<(), TransactionError<Error>> {
    /// db.transaction_retrying(RetryPolicy::immediate(5), async |tx| {
    ///     if let Some(mut order) = Entity::find_by_id(id).one(tx).await? {
    ///         order.pay();
    ///         tx.save(&mut order).await?;
    ///     }
    ///     Ok::<_, Error>(())
    /// })
    /// .await
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TransactionError`]: that of the last attempt.
    ///
    /// # Cancel safety
    /// If the future is dropped, the attempt that runs is rolled back, and none follows; during its
    /// commit it may have been committed or not.
    pub async fn transaction_retrying<F, T, E>(
        &self,
        policy: RetryPolicy,
        work: F,
    ) -> Result<T, TransactionError<E>>
    where
        F: for<'c> AsyncFnOnce(&'c OutboxTransaction) -> Result<T, E> + Clone,
    {
        let mut failures = 0;
        loop {
            let (error, is_worth_it) = match self.attempt(work.clone()).await {
                Ok(value) => return Ok(value),
                Err(failed) => failed,
            };
            failures += 1;
            if !is_worth_it || policy.is_exhausted(failures) {
                return Err(error);
            }
            let wait = policy.wait(failures, &mut fastrand::Rng::new());
            tracing::debug!(
                target: telemetry::TARGET_FLUSH,
                failures,
                wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                "the transaction runs again, because another one was in its way",
            );
            tokio::time::sleep(wait).await;
        }
    }

    /// Runs it once. The flag beside the error is true if another attempt may succeed.
    async fn attempt<F, T, E>(&self, work: F) -> Result<T, (TransactionError<E>, bool)>
    where
        F: for<'c> AsyncFnOnce(&'c OutboxTransaction) -> Result<T, E>,
    {
        let begun = match self.begin().await {
            Ok(begun) => begun,
            Err(error) => {
                let is_worth_it = self.is_contention(&error);
                return Err((error.into(), is_worth_it));
            }
        };
        let contention = begun.contention();
        run_async(begun, work).await.map_err(|error| {
            let is_worth_it = match &error {
                TransactionError::Connection(
                    Error::CommitUnclear { .. } | Error::ConnectionLost { .. },
                ) => false,
                TransactionError::Connection(error) => {
                    contention.is_noted_or_conflict() || self.is_contention(error)
                }
                TransactionError::Transaction(_) => contention.is_noted_or_conflict(),
            };
            (error, is_worth_it)
        })
    }

    /// True if another transaction was in the way.
    pub(crate) fn is_contention(&self, error: &Error) -> bool {
        let source = error.database_source();
        source.is_some_and(|source| self.is_contention_of(source))
    }

    /// True if another transaction was in the way, by the error of the database.
    pub(crate) fn is_contention_of(&self, error: &DbErr) -> bool {
        backend::is_transient(self.get_database_backend(), error)
    }
}
