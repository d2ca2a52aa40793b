//! The meaning of an error, whatever the back end that reported it.

use sea_orm::sqlx::error::DatabaseError;
use sea_orm::{DbBackend, DbErr, RuntimeErr, SqlxError};

use super::{Backend, of};

/// The error as the driver reported it.
fn driver_error(error: &DbErr) -> Option<&SqlxError> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(source))
        | DbErr::Query(RuntimeErr::SqlxError(source))
        | DbErr::Conn(RuntimeErr::SqlxError(source)) => Some(source.as_ref()),
        _ => None,
    }
}

/// The error as the database itself reported it.
pub(crate) fn database_error(error: &DbErr) -> Option<&dyn DatabaseError> {
    match driver_error(error)? {
        SqlxError::Database(error) => Some(error.as_ref()),
        _ => None,
    }
}

/// True if the connection is gone.
pub(crate) fn is_disconnection(backend: DbBackend, error: &DbErr) -> bool {
    use SqlxError::{Io, Protocol, Tls, WorkerCrashed};
    matches!(
        driver_error(error),
        Some(Io(_) | Tls(_) | Protocol(_) | WorkerCrashed)
    ) || answers(backend, error, |backend, error| {
        backend.is_disconnection(error)
    })
}

/// True if the connection is gone, for an error of any back end.
pub(crate) fn is_lost(error: &DbErr) -> bool {
    !matches!(error, DbErr::Conn(_))
        && [DbBackend::Postgres, DbBackend::MySql, DbBackend::Sqlite]
            .iter()
            .any(|of| is_disconnection(*of, error))
}

/// True if the session refuses to write, as after a failover to another server.
pub(crate) fn is_read_only(backend: DbBackend, error: &DbErr) -> bool {
    answers(backend, error, |backend, error| backend.is_read_only(error))
}

/// True if no other transaction may use the session.
pub(crate) fn is_unfit(backend: DbBackend, error: &DbErr) -> bool {
    is_disconnection(backend, error) || is_read_only(backend, error)
}

/// True if the error says that the transaction has ended.
pub(crate) fn is_rolled_back(backend: DbBackend, error: &DbErr) -> bool {
    is_disconnection(backend, error)
        || answers(backend, error, |backend, error| {
            backend.is_rolled_back(error)
        })
}

/// True if the database refuses every statement until the transaction is rolled back.
pub(crate) fn is_aborted(backend: DbBackend, error: &DbErr) -> bool {
    answers(backend, error, |backend, error| backend.is_aborted(error))
}

/// True if the same transaction may succeed when it is repeated: after a deadlock, a serialization
/// failure, a timeout of a lock.
pub(crate) fn is_transient(backend: DbBackend, error: &DbErr) -> bool {
    answers(backend, error, |backend, error| backend.is_transient(error))
}

/// True if a transaction at a higher isolation level has lost to another one that has written the
/// same row.
pub(crate) fn is_serialization_failure(backend: DbBackend, error: &DbErr) -> bool {
    answers(backend, error, |backend, error| {
        backend.is_serialization_failure(error)
    })
}

fn answers(
    backend: DbBackend,
    error: &DbErr,
    ask: impl FnOnce(&dyn Backend, &dyn DatabaseError) -> bool,
) -> bool {
    let both = of(backend).ok().zip(database_error(error));
    both.is_some_and(|(backend, error)| ask(backend, error))
}

/// True if the database refuses a value or a row for its content.
pub(crate) fn is_refusal(backend: DbBackend, error: &DbErr) -> bool {
    answers(backend, error, |backend, error| backend.is_refusal(error))
}
