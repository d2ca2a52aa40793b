//! Closures in a transaction and its scope.

use std::future::Future;
use std::pin::Pin;

use bento_core::report::with_causes;
use bento_relay::telemetry;

use super::OutboxTransaction;
use crate::error::TransactionError;

pub(crate) async fn run<F, T, E>(
    transaction: OutboxTransaction,
    callback: F,
) -> Result<T, TransactionError<E>>
where
    F: for<'c> FnOnce(
            &'c OutboxTransaction,
        ) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>
        + Send,
{
    let result = transaction.scope(callback(&transaction)).await;
    finish(transaction, result).await
}

pub(crate) async fn run_async<F, T, E>(
    transaction: OutboxTransaction,
    callback: F,
) -> Result<T, TransactionError<E>>
where
    F: for<'c> AsyncFnOnce(&'c OutboxTransaction) -> Result<T, E>,
{
    let result = transaction.scope(callback(&transaction)).await;
    finish(transaction, result).await
}

async fn finish<T, E>(
    transaction: OutboxTransaction,
    result: Result<T, E>,
) -> Result<T, TransactionError<E>> {
    match result {
        Ok(value) => {
            transaction.commit().await?;
            Ok(value)
        }
        Err(error) => {
            // The caller wants to know why its closure failed; the database rolls back in any case.
            if let Err(rollback) = transaction.rollback().await {
                tracing::warn!(
                    target: telemetry::TARGET_FLUSH,
                    error = with_causes(&rollback),
                    "a rollback failed",
                );
            }
            Err(TransactionError::Transaction(error))
        }
    }
}
