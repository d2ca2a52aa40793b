//! The facts by which back ends differ: codes of errors, sessions, schemas, what ends a
//! transaction. Their SQL is in [`dialect`](crate::dialect).
#![cfg_attr(
    not(all(feature = "postgres", feature = "mysql", feature = "sqlite")),
    allow(dead_code, reason = "each back end uses its own part")
)]

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

mod errors;
mod missing;

use std::fmt;

use bento_relay::publish::PoolId;

use sea_orm::sqlx::error::DatabaseError;
use sea_orm::{DatabaseConnection, DbBackend, TransactionOptions};

pub(crate) use self::errors::{
    database_error, is_aborted, is_disconnection, is_lost, is_read_only, is_refusal,
    is_rolled_back, is_serialization_failure, is_transient, is_unfit,
};
pub(crate) use self::missing::{MissingSchema, MissingTable, missing_schema, missing_table};
#[cfg(feature = "mysql")]
pub(crate) use self::mysql::MySql;
#[cfg(feature = "postgres")]
pub(crate) use self::postgres::Postgres;
#[cfg(feature = "sqlite")]
pub(crate) use self::sqlite::Sqlite;

#[cfg(not(any(feature = "postgres", feature = "mysql", feature = "sqlite")))]
compile_error!(
    "no back end is enabled: turn on the feature `postgres`, `mysql` or `sqlite` of `bento-events`"
);

/// A back end, as far as it differs from the others in more than its SQL.
pub(crate) trait Backend: fmt::Debug + Send + Sync {
    /// The name that SeaORM has for it.
    fn backend(&self) -> DbBackend;

    /// The quotation mark around the name of a schema; `None` where there are no schemas.
    fn schema_quote(&self) -> Option<char>;

    /// The statement that creates a schema whose name is written as in SQL.
    fn create_named_schema(&self, schema: &str) -> String {
        format!("CREATE SCHEMA {schema}")
    }

    /// The schema that the error says is missing.
    fn missing_schema(&self, _error: &dyn DatabaseError) -> Option<MissingSchema> {
        None
    }

    /// True if an error says that the object to be created exists: another process has created it
    /// in the meantime.
    fn is_already_there(&self, _error: &dyn DatabaseError) -> bool {
        false
    }

    /// True if the database refuses a value or a row for its content: too long, out of range, of
    /// another type, stored already.
    fn is_refusal(&self, error: &dyn DatabaseError) -> bool;

    /// The table that the error says is missing.
    fn missing_table(&self, error: &dyn DatabaseError) -> Option<MissingTable>;

    /// The query for the `search_path` of the session and the name of its database; `None` where
    /// the error names them.
    fn ask_search_path(&self) -> Option<&'static str> {
        None
    }

    /// True if the same transaction may succeed when it is repeated.
    fn is_transient(&self, error: &dyn DatabaseError) -> bool;

    /// True if a transaction at a higher isolation level has lost to another one that has written
    /// the same row.
    fn is_serialization_failure(&self, _error: &dyn DatabaseError) -> bool {
        false
    }

    /// True if the connection ends with this error.
    fn is_disconnection(&self, _error: &dyn DatabaseError) -> bool {
        false
    }

    /// True if the database has rolled the whole transaction back by itself: later statements would
    /// be committed one by one.
    fn is_rolled_back(&self, _error: &dyn DatabaseError) -> bool {
        false
    }

    /// True if the driver takes an answer that was left unread for that of the next statement.
    fn counts_answers(&self) -> bool {
        false
    }

    /// True if the database refuses every statement until the transaction is rolled back, because
    /// an earlier one failed.
    fn is_aborted(&self, _error: &dyn DatabaseError) -> bool {
        false
    }

    /// True if the session refuses to write, as after a failover to another server.
    fn is_read_only(&self, _error: &dyn DatabaseError) -> bool {
        false
    }

    /// The query that answers with a row if the session refuses to write.
    fn ask_read_only(&self) -> Option<&'static str> {
        None
    }

    /// The way to find out if the transaction is still open after an error that does not tell.
    fn look(&self) -> Look {
        Look::Needless
    }

    /// The first words of statements before which the back end commits by itself.
    fn commits_before(&self) -> &'static [&'static str] {
        &[]
    }

    /// The options to begin a transaction with, made from those of the caller.
    fn to_begin(&self, options: TransactionOptions) -> TransactionOptions {
        options
    }
}

/// The way to find out if a transaction is still open after a failed statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Errors tell.
    Needless,
    /// Before the next statement: this one succeeds only if the transaction has ended.
    BeforeNext(&'static str),
    /// Before the commit, whose answer does not tell: this one fails if the transaction is aborted.
    BeforeCommit(&'static str),
}

/// The back end of a connection.
///
/// # Errors
/// [`UnsupportedBackend`] if its cargo feature is off.
pub(crate) fn of(backend: DbBackend) -> Result<&'static dyn Backend, UnsupportedBackend> {
    match backend {
        #[cfg(feature = "postgres")]
        DbBackend::Postgres => Ok(&Postgres),
        #[cfg(feature = "mysql")]
        DbBackend::MySql => Ok(&MySql),
        #[cfg(feature = "sqlite")]
        DbBackend::Sqlite => Ok(&Sqlite),
        #[allow(
            unreachable_patterns,
            reason = "reachable as soon as one feature is off"
        )]
        _ => Err(UnsupportedBackend { backend }),
    }
}

/// A connection to a database that this build does not support.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "bento-seaorm is built without support for {backend:?}; enable its feature `postgres`, \
     `mysql` or `sqlite`"
)]
pub struct UnsupportedBackend {
    /// The database of the connection.
    pub backend: DbBackend,
}

/// The quotation mark around the name of a schema; `None` where there are no schemas.
pub(crate) fn schema_quote(backend: DbBackend) -> Option<char> {
    of(backend).ok()?.schema_quote()
}

/// The query that answers with a row if the session refuses to write.
pub(crate) fn ask_read_only(backend: DbBackend) -> Option<&'static str> {
    of(backend).ok()?.ask_read_only()
}

/// The first words of statements before which the back end commits by itself.
pub(crate) fn commits_before(backend: DbBackend) -> &'static [&'static str] {
    of(backend).map_or(&[], Backend::commits_before)
}

/// The options to begin a transaction with, made from those of the caller.
pub(crate) fn to_begin(backend: DbBackend, options: TransactionOptions) -> TransactionOptions {
    match of(backend) {
        Ok(backend) => backend.to_begin(options),
        Err(UnsupportedBackend { .. }) => options,
    }
}

/// The number of connections that a pool has; 0 for SQLite, whose sessions are never read-only
/// after a failover.
pub(crate) fn pool_size(db: &DatabaseConnection) -> u32 {
    match &db.inner {
        #[cfg(feature = "postgres")]
        sea_orm::DatabaseConnectionType::SqlxPostgresPoolConnection(_) => {
            db.get_postgres_connection_pool().size()
        }
        #[cfg(feature = "mysql")]
        sea_orm::DatabaseConnectionType::SqlxMySqlPoolConnection(_) => {
            db.get_mysql_connection_pool().size()
        }
        _ => 0,
    }
}

/// The most connections that a pool may have; `None` for SQLite, which writes with one at a time
/// however many there are.
pub(crate) fn max_connections(db: &DatabaseConnection) -> Option<u32> {
    of_pool(db).map(|(most, _)| most)
}

/// The identity of the pool; `None` for SQLite.
pub(crate) fn pool(db: &DatabaseConnection) -> Option<PoolId> {
    of_pool(db).map(|(_, pool)| pool)
}

/// The most connections of the pool, and its identity: clones of a pool share its options.
fn of_pool(db: &DatabaseConnection) -> Option<(u32, PoolId)> {
    match &db.inner {
        #[cfg(feature = "postgres")]
        sea_orm::DatabaseConnectionType::SqlxPostgresPoolConnection(_) => {
            let options = db.get_postgres_connection_pool().options();
            Some((options.get_max_connections(), PoolId::of(options)))
        }
        #[cfg(feature = "mysql")]
        sea_orm::DatabaseConnectionType::SqlxMySqlPoolConnection(_) => {
            let options = db.get_mysql_connection_pool().options();
            Some((options.get_max_connections(), PoolId::of(options)))
        }
        _ => None,
    }
}
