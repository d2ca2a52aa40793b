//! What a relay is told when the database says no.

use bento_relay::store::StoreError;
use sea_orm::{DbBackend, DbErr, RuntimeErr, SqlxError};

use crate::backend::{self, MissingTable};
use crate::dialect;
use crate::error::Error;

/// How often a transaction is tried that the database gave up for another one's sake.
const TRIES: u32 = 3;

/// The error as a relay is told.
pub(crate) fn store_error(backend: DbBackend, error: DbErr) -> StoreError {
    if let Some(MissingTable { table, place }) = backend::missing_table(backend, &error) {
        return StoreError::NotMigrated {
            table,
            place,
            source: Some(error.into()),
        };
    }
    if let Some(advice) = dialect::advice(backend, &error) {
        return StoreError::unavailable(Advised {
            advice,
            source: error,
        });
    }
    match error {
        DbErr::Type(reason) => StoreError::Corrupt {
            reason,
            source: None,
        },
        DbErr::Query(RuntimeErr::SqlxError(ref source))
            if matches!(**source, SqlxError::ColumnDecode { .. }) =>
        {
            StoreError::Corrupt {
                reason: source.to_string(),
                source: Some(error.into()),
            }
        }
        error if backend::is_refusal(backend, &error) => StoreError::Refused {
            source: error.into(),
        },
        error => StoreError::unavailable(error),
    }
}

/// An error whose reason is a setting.
#[derive(Debug, thiserror::Error)]
#[error("{advice}")]
struct Advised {
    advice: &'static str,
    source: DbErr,
}

/// Whether a transaction that failed is worth another try: the database may have given it up for
/// another one's sake, for a deadlock or a lock that was not to be had. Whoever is given up has
/// changed nothing, so running it again is always right.
#[derive(Debug)]
pub(crate) struct Tries {
    backend: DbBackend,
    left: u32,
}

impl Tries {
    pub(crate) fn new(backend: DbBackend) -> Self {
        Self {
            backend,
            left: TRIES,
        }
    }

    /// Takes a failure: returning says that the transaction should run again.
    ///
    /// # Errors
    /// The failure, if another try would not help, or there were enough.
    pub(crate) fn again(&mut self, failure: StoreFailure) -> Result<(), StoreError> {
        self.left -= 1;
        match failure {
            StoreFailure::Database(error) | StoreFailure::Settling(error)
                if self.left > 0 && backend::is_transient(self.backend, &error) =>
            {
                Ok(())
            }
            StoreFailure::Database(error) | StoreFailure::Settling(error) => {
                Err(store_error(self.backend, error))
            }
            StoreFailure::Store(error) => Err(error),
        }
    }
}

/// A transaction of the relay failed: by the database, or by a rule of the store.
#[derive(Debug)]
pub(crate) enum StoreFailure {
    /// The database said no.
    Database(DbErr),
    /// The database said no to a settlement.
    Settling(DbErr),
    /// The store says no.
    Store(StoreError),
}

impl From<DbErr> for StoreFailure {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for StoreFailure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What went wrong while the sharding of the outbox was read, as a relay is told.
pub(crate) fn sharding_error(error: Error) -> StoreError {
    match error {
        Error::ShardingMismatch {
            recorded,
            configured,
        } => StoreError::Mismatch {
            recorded,
            configured,
        },
        Error::OtherApplication {
            recorded,
            configured,
        } => StoreError::OtherApplication {
            recorded,
            configured,
        },
        Error::NotMigrated {
            table,
            place,
            source,
        } => StoreError::NotMigrated {
            table,
            place,
            source: Some(source.into()),
        },
        error @ Error::UnknownSharding { .. } => StoreError::Corrupt {
            reason: error.to_string(),
            source: None,
        },
        error => StoreError::unavailable(error),
    }
}
