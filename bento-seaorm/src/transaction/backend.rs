//! What a back end does to a transaction whose statement failed.

use sea_orm::sqlx;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, RuntimeErr};

/// `ER_LOCK_DEADLOCK`, `ER_LOCK_TABLE_FULL`, and MariaDB's `ER_CHECKREAD` (the row changed since it was read): InnoDB rolls the
/// whole transaction back, and what follows would be committed statement by statement.
const MYSQL_ROLLED_BACK: [u16; 3] = [1213, 1206, 1020];

/// `ER_SERVER_SHUTDOWN`, `ER_CONNECTION_KILLED`.
const MYSQL_DISCONNECTED: [u16; 2] = [1053, 1927];

/// `admin_shutdown`, `crash_shutdown`, `cannot_connect_now`, `idle_session_timeout`, `idle_in_transaction_session_timeout`.
const POSTGRES_DISCONNECTED: [&str; 5] = ["57P01", "57P02", "57P03", "57P05", "25P03"];

/// Whether the error says that the database has rolled the whole transaction back.
///
/// PostgreSQL never does that: it refuses everything until somebody rolls back.
pub(super) fn ends_transaction(error: &DbErr) -> bool {
    is_disconnection(error) || mysql_number(error).is_some_and(|number| MYSQL_ROLLED_BACK.contains(&number))
}

/// Whether the error says that the connection is gone.
pub(crate) fn is_disconnection(error: &DbErr) -> bool {
    match driver_error(error) {
        Some(sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed) => true,
        Some(sqlx::Error::Database(database)) => {
            let class = database.code().unwrap_or_default();
            POSTGRES_DISCONNECTED.contains(&class.as_ref())
                || mysql_number(error).is_some_and(|number| MYSQL_DISCONNECTED.contains(&number))
        }
        _ => false,
    }
}

/// Whether the error says that an earlier failure has ended the transaction.
pub(crate) fn is_aborted(error: &DbErr) -> bool {
    match driver_error(error) {
        Some(sqlx::Error::Database(database)) => database.code().as_deref() == Some("25P02"),
        _ => false,
    }
}

/// Looks whether a failed statement has ended the transaction, where the error did not say so.
///
/// SQLite rolls back by itself when it is out of space or memory, or a constraint says `ON CONFLICT ROLLBACK`. `BEGIN` is
/// refused inside a transaction and harmless; where it succeeds there was none, and now the driver has one to roll back.
pub(super) async fn has_ended(database: &DatabaseTransaction) -> Option<DbErr> {
    if database.get_database_backend() != DbBackend::Sqlite {
        return None;
    }
    match database.execute_unprepared("BEGIN").await {
        Err(error) if error.to_string().contains("within a transaction") => None,
        Err(error) => Some(error),
        Ok(_) => Some(DbErr::Custom("SQLite rolled the transaction back after a failed statement".to_owned())),
    }
}

/// Refuses a transaction that is aborted but would answer its COMMIT without an error.
pub(super) async fn check_alive(database: &DatabaseTransaction) -> Result<(), DbErr> {
    if database.get_database_backend() == DbBackend::Postgres {
        database.execute_unprepared("SELECT 1").await?;
    }
    Ok(())
}

fn driver_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

#[cfg(feature = "mysql")]
fn mysql_number(error: &DbErr) -> Option<u16> {
    let error = driver_error(error)?.as_database_error()?;
    error.try_downcast_ref::<sea_orm::SqlxMySqlError>().map(|error| error.number())
}

#[cfg(not(feature = "mysql"))]
fn mysql_number(_: &DbErr) -> Option<u16> {
    None
}
