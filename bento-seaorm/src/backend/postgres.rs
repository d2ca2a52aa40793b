//! PostgreSQL 13 and later.

use sea_orm::DbBackend;
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::sqlx::postgres::{PgDatabaseError, PgSeverity};

use super::{Backend, Look, MissingSchema, MissingTable};

/// PostgreSQL.
#[derive(Debug)]
pub(crate) struct Postgres;

/// `admin_shutdown`, `crash_shutdown`, `cannot_connect_now`, `database_dropped`,
/// `idle_session_timeout`, `idle_in_transaction_session_timeout`, `transaction_timeout`. The class
/// 08 is of the same kind, and every FATAL error.
const DISCONNECTED: [&str; 7] = [
    "57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04",
];
/// `read_only_sql_transaction`.
const READ_ONLY: &str = "25006";
/// `undefined_table`.
const UNDEFINED_TABLE: &str = "42P01";
/// `invalid_schema_name`.
const INVALID_SCHEMA_NAME: &str = "3F000";
/// The place of a table whose schema is not named. The failed transaction answers no query any
/// more, so the path itself is unknown.
const UNNAMED: &str = "in the `search_path` of the session (`SHOW search_path`), and no schema is \
                       named (`TablePrefix::in_schema`)";
/// `in_failed_sql_transaction`.
const IN_FAILED_TRANSACTION: &str = "25P02";

impl Backend for Postgres {
    fn backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    fn schema_quote(&self) -> Option<char> {
        Some('"')
    }

    /// The session has a schema to create in unless none of its `search_path` exists, and the error
    /// names none then.
    fn missing_schema(&self, error: &dyn DatabaseError) -> Option<MissingSchema> {
        (error.code().as_deref() == Some(INVALID_SCHEMA_NAME)).then(|| {
            match error.message().split('"').nth(1) {
                Some(schema) => MissingSchema::Named(schema.to_owned()),
                None => MissingSchema::OfTheSession,
            }
        })
    }

    /// Data exceptions, violations of constraints, limits of the program (a row that is too wide
    /// for an index).
    fn is_refusal(&self, error: &dyn DatabaseError) -> bool {
        error.code().is_some_and(|code| {
            ["22", "23", "54"]
                .iter()
                .any(|class| code.starts_with(class))
        })
    }

    fn missing_table(&self, error: &dyn DatabaseError) -> Option<MissingTable> {
        (error.code().as_deref() == Some(UNDEFINED_TABLE)).then(|| {
            let name = error.message().split('"').nth(1).unwrap_or(error.message());
            match name.rsplit_once('.') {
                Some((schema, table)) => MissingTable {
                    table: table.to_owned(),
                    place: format!("in schema `{schema}`"),
                },
                None => MissingTable {
                    table: name.to_owned(),
                    place: UNNAMED.to_owned(),
                },
            }
        })
    }

    fn ask_search_path(&self) -> Option<&'static str> {
        Some("SELECT current_setting('search_path'), current_database()::text")
    }

    /// Serialisation failure, deadlock, lock not available.
    fn is_transient(&self, error: &dyn DatabaseError) -> bool {
        matches!(error.code().as_deref(), Some("40001" | "40P01" | "55P03"))
    }

    fn is_serialization_failure(&self, error: &dyn DatabaseError) -> bool {
        error.code().is_some_and(|code| code == "40001")
    }

    fn is_disconnection(&self, error: &dyn DatabaseError) -> bool {
        let error = error.try_downcast_ref::<PgDatabaseError>();
        error.is_some_and(|error| ends_connection(error.severity(), error.code()))
    }

    fn is_aborted(&self, error: &dyn DatabaseError) -> bool {
        error
            .code()
            .is_some_and(|code| code == IN_FAILED_TRANSACTION)
    }

    fn is_read_only(&self, error: &dyn DatabaseError) -> bool {
        error.code().is_some_and(|code| code == READ_ONLY)
    }

    fn ask_read_only(&self) -> Option<&'static str> {
        Some("SELECT 1 WHERE current_setting('transaction_read_only') = 'on'")
    }

    /// It answers the COMMIT of an aborted transaction with ROLLBACK, and that is no error to the
    /// driver.
    fn look(&self) -> Look {
        Look::BeforeCommit("SELECT 1")
    }
}

/// True if an error is the last one of its connection. A pooler between may send other codes than
/// the server, and all of them FATAL.
fn ends_connection(severity: PgSeverity, code: &str) -> bool {
    matches!(severity, PgSeverity::Fatal | PgSeverity::Panic)
        || code.starts_with("08")
        || DISCONNECTED.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fatal_errors_and_connection_exceptions_end_the_connection() {
        use PgSeverity::{Error, Fatal, Panic};
        let last = [
            (Fatal, "08P01"),
            (Fatal, "57P01"),
            (Fatal, "25P04"),
            (Fatal, "XX000"),
            (Panic, "XX000"),
            (Error, "08006"),
            (Error, "08000"),
            (Error, "57P01"),
            (Error, "57P02"),
            (Error, "57P03"),
        ];
        for (severity, code) in last {
            assert!(ends_connection(severity, code), "{severity:?} {code}");
        }
        for code in [
            "23505", "40001", "40P01", "25P02", "25006", "57014", "55P03",
        ] {
            assert!(!ends_connection(Error, code), "{code}");
        }
    }
}
