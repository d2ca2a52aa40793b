//! A rollback with a time limit.

use std::time::Duration;

use sea_orm::{DatabaseTransaction, DbErr};
use tokio::time::timeout;

use super::close::close;
use super::shield::to_the_end;

/// The longest time that a rollback may take. Then the connection is closed, which rolls back as
/// well: after some failures sqlx waits on MySQL for an answer that was never asked for.
pub(crate) const ROLLBACK_LIMIT: Duration = Duration::from_secs(10);

/// Rolls back, or closes the connection.
///
/// If this future is dropped before, the rest is done in the background.
///
/// # Errors
/// The failure of the rollback. The transaction is rolled back nevertheless.
pub(crate) async fn roll_back(transaction: DatabaseTransaction) -> Result<(), DbErr> {
    to_the_end(async move {
        let mut rollback = Box::pin(transaction.rollback());
        match timeout(ROLLBACK_LIMIT, &mut rollback).await {
            Ok(answer) => answer,
            Err(_) => {
                close(rollback);
                let limit = ROLLBACK_LIMIT.as_secs();
                Err(DbErr::Custom(format!(
                    "the rollback was not answered within {limit} s; its connection is closed"
                )))
            }
        }
    })
    .await
}
