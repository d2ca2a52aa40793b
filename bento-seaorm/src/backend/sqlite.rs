//! SQLite 3.35 and later.

use sea_orm::sqlx::error::DatabaseError;
use sea_orm::{AccessMode, DbBackend, SqliteTransactionMode, TransactionOptions};

use super::{Backend, Look, MissingTable};

/// SQLite.
#[derive(Debug)]
pub(crate) struct Sqlite;

impl Backend for Sqlite {
    fn backend(&self) -> DbBackend {
        DbBackend::Sqlite
    }

    /// A database that is attached would do for one, but for views and indexes across it, and each
    /// session attaches its own.
    fn schema_quote(&self) -> Option<char> {
        None
    }

    /// `SQLITE_TOOBIG`, `SQLITE_CONSTRAINT` and `SQLITE_MISMATCH`, with the extended codes whose
    /// low byte they are.
    fn is_refusal(&self, error: &dyn DatabaseError) -> bool {
        let code = error.code().and_then(|code| code.parse::<i32>().ok());
        code.is_some_and(|code| matches!(code & 0xff, 18..=20))
    }

    fn missing_table(&self, error: &dyn DatabaseError) -> Option<MissingTable> {
        let (_, table) = error.message().split_once("no such table: ")?;
        let table = table.rsplit('.').next().unwrap_or(table).to_owned();
        Some(MissingTable {
            table,
            place: "in the file of the connection".to_owned(),
        })
    }

    /// `SQLITE_BUSY` and `SQLITE_LOCKED` with their extended codes, whose low byte is the code.
    fn is_transient(&self, error: &dyn DatabaseError) -> bool {
        let code = error.code().and_then(|code| code.parse::<i32>().ok());
        code.is_some_and(|code| matches!(code & 0xff, 5 | 6))
    }

    /// It rolls back by itself when it is out of space or memory, or a constraint says
    /// `ON CONFLICT ROLLBACK`, and the error does not tell. `BEGIN` is refused inside a transaction
    /// and harmless; where it succeeds there was none, and now the driver has one to roll back.
    fn look(&self) -> Look {
        Look::BeforeNext("BEGIN")
    }

    /// A transaction that writes begins IMMEDIATE: one that began by reading could not write any
    /// more once another connection has written.
    fn to_begin(&self, mut options: TransactionOptions) -> TransactionOptions {
        if options.access_mode != Some(AccessMode::ReadOnly) {
            options
                .sqlite_transaction_mode
                .get_or_insert(SqliteTransactionMode::Immediate);
        }
        options
    }
}
