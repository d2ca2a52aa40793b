//! The errors of the database as errors of the relay's store.

use bento_relay::store::StoreError;
use sea_orm::{DbBackend, DbErr, RuntimeErr, SqlxError};

use crate::backend::{self, MissingTable};
use crate::dialect;
use crate::error::Error;

/// The number of tries of a transaction that the database rolls back because of another one.
const TRIES: u32 = 3;

/// Makes a store error of an error of the database.
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

/// Runs a transaction, and runs it again after a failure that another try may mend.
///
/// # Errors
/// The failure that no other try would mend, or that of the last try.
pub(crate) async fn retrying<T, F: Future<Output = Result<T, StoreFailure>>>(
    backend: DbBackend,
    mut run: impl FnMut() -> F,
) -> Result<T, StoreError> {
    let mut tries = Tries::new(backend);
    loop {
        match run().await {
            Ok(value) => return Ok(value),
            Err(failure) => tries.again(failure)?,
        }
    }
}

/// The remaining tries of a transaction. The database may have rolled it back because of another
/// one, after a deadlock or a timeout of a lock. Such a transaction has changed nothing, so it can
/// always run again.
#[derive(Debug)]
pub(super) struct Tries {
    backend: DbBackend,
    left: u32,
}

impl Tries {
    pub(super) fn new(backend: DbBackend) -> Self {
        Self {
            backend,
            left: TRIES,
        }
    }

    /// Takes a failure. `Ok` means that the transaction should run again.
    ///
    /// # Errors
    /// The failure, if another try would not help or no try is left.
    pub(super) fn again(&mut self, failure: StoreFailure) -> Result<(), StoreError> {
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
    /// The database refused a statement.
    Database(DbErr),
    /// The database refused a settlement.
    Settling(DbErr),
    /// A rule of the store was broken.
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

/// Makes a store error of a failure to read the record of the outbox.
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
