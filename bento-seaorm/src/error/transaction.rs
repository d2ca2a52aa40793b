//! The error of a transaction that runs a closure.

use std::fmt;

use sea_orm::DbErr;

use super::Error;

/// A closure given to `transaction` failed, or the transaction around it.
#[derive(Debug)]
pub enum TransactionError<E> {
    /// Beginning, flushing or committing failed.
    Connection(Error),
    /// The closure returned an error; the transaction is rolled back.
    Transaction(E),
}

impl<E: From<Error>> TransactionError<E> {
    /// The closure's error, or the transaction's as one: for a service whose own error has a
    /// variant for [`Error`].
    ///
    /// ```
    /// # use bento_seaorm::{Error, OutboxConnection};
    /// #[derive(Debug)]
    /// enum AppError {
    ///     Outbox(Error),
    ///     SoldOut,
    /// }
    ///
    /// impl From<Error> for AppError {
    ///     fn from(error: Error) -> Self {
    ///         Self::Outbox(error)
    ///     }
    /// }
    ///
    /// async fn order(db: &OutboxConnection) -> Result<(), AppError> {
    ///     let ordered = db.transaction_async(async |_tx| Err(AppError::SoldOut)).await;
    ///     ordered.map_err(|error| error.flatten())
    /// }
    /// ```
    pub fn flatten(self) -> E {
        match self {
            Self::Connection(error) => error.into(),
            Self::Transaction(error) => error,
        }
    }
}

impl<E: fmt::Display> fmt::Display for TransactionError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => error.fmt(f),
            Self::Transaction(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for TransactionError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connection(error) => error.source(),
            Self::Transaction(error) => error.source(),
        }
    }
}

impl<E> From<Error> for TransactionError<E> {
    fn from(error: Error) -> Self {
        Self::Connection(error)
    }
}

impl<E> From<TransactionError<E>> for sea_orm::TransactionError<E> {
    fn from(error: TransactionError<E>) -> Self {
        match error {
            TransactionError::Connection(error) => Self::Connection(error.into()),
            TransactionError::Transaction(error) => Self::Transaction(error),
        }
    }
}

impl From<TransactionError<DbErr>> for DbErr {
    fn from(error: TransactionError<DbErr>) -> Self {
        match error {
            TransactionError::Connection(error) => error.into(),
            TransactionError::Transaction(error) => error,
        }
    }
}

impl From<TransactionError<Error>> for Error {
    fn from(error: TransactionError<Error>) -> Self {
        match error {
            TransactionError::Connection(error) | TransactionError::Transaction(error) => error,
        }
    }
}
