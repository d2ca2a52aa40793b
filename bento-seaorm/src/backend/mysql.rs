//! MySQL 8.0.17 and MariaDB 10.6, and later.

use sea_orm::DbBackend;
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::sqlx::mysql::MySqlDatabaseError;

use super::{Backend, Look, MissingSchema, MissingTable};

/// MySQL and MariaDB.
#[derive(Debug)]
pub(crate) struct MySql;

/// `ER_NO_SUCH_TABLE`.
const NO_SUCH_TABLE: u16 = 1146;
/// `ER_BAD_DB_ERROR`.
const UNKNOWN_DATABASE: u16 = 1049;
/// `ER_NO_DB_ERROR`.
const NO_DATABASE: u16 = 1046;
/// `ER_DUP_KEYNAME`.
const DUPLICATE_KEY_NAME: u16 = 1061;
/// `ER_LOCK_WAIT_TIMEOUT`, `ER_LOCK_DEADLOCK`, and MariaDB's `ER_CHECKREAD`: the row changed since
/// it was read.
const TRANSIENT: [u16; 3] = [1205, 1213, 1020];
/// MariaDB's `ER_CHECKREAD`.
const CHANGED_SINCE_READ: u16 = 1020;
/// `ER_LOCK_DEADLOCK`, `ER_LOCK_TABLE_FULL`, MariaDB's `ER_CHECKREAD`, `ER_XA_RBDEADLOCK`, and
/// `ER_TRANSACTION_ROLLBACK_DURING_COMMIT`: the server rolls the whole transaction back.
const ROLLED_BACK: [u16; 5] = [1213, 1206, 1020, 1614, 3101];
/// `ER_SERVER_SHUTDOWN`, `ER_ABORTING_CONNECTION`, four of `ER_NET_…`,
/// `ER_NEW_ABORTING_CONNECTION`, `ER_CONNECTION_KILLED`, `CR_SERVER_GONE_ERROR` and
/// `CR_SERVER_LOST` as a proxy reports them, `ER_SERVER_OFFLINE_MODE`, `ER_SESSION_WAS_KILLED`,
/// `ER_CLIENT_INTERACTION_TIMEOUT`.
const DISCONNECTED: [u16; 13] = [
    1053, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 2006, 2013, 3032, 3169, 4031,
];
/// Without an SQLSTATE of their own: `WARN_DATA_TRUNCATED`, `ER_TRUNCATED_WRONG_VALUE_FOR_FIELD`,
/// `ER_NO_DEFAULT_FOR_FIELD`.
const REFUSED: [u16; 3] = [1265, 1366, 1364];
/// `ER_OPTION_PREVENTS_STATEMENT`.
const OPTION_PREVENTS_STATEMENT: u16 = 1290;
/// `ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION`, `ER_READ_ONLY_MODE`.
const READ_ONLY: [u16; 2] = [1792, 1836];
/// The words of statements before which MySQL and MariaDB commit.
const COMMITS_BEFORE: [&str; 15] = [
    "ALTER",
    "CACHE",
    "CHECK",
    "CREATE",
    "DROP",
    "FLUSH",
    "GRANT",
    "INSTALL",
    "LOCK",
    "OPTIMIZE",
    "RENAME",
    "REPAIR",
    "REVOKE",
    "TRUNCATE",
    "UNINSTALL",
];

impl Backend for MySql {
    fn backend(&self) -> DbBackend {
        DbBackend::MySql
    }

    fn schema_quote(&self) -> Option<char> {
        Some('`')
    }

    fn create_named_schema(&self, schema: &str) -> String {
        format!("CREATE DATABASE {schema}")
    }

    fn missing_schema(&self, error: &dyn DatabaseError) -> Option<MissingSchema> {
        let error = error.try_downcast_ref::<MySqlDatabaseError>()?;
        match error.number() {
            UNKNOWN_DATABASE => Some(MissingSchema::Named(quoted(error.message()).to_owned())),
            NO_DATABASE => Some(MissingSchema::OfTheSession),
            _ => None,
        }
    }

    fn is_already_there(&self, error: &dyn DatabaseError) -> bool {
        error
            .try_downcast_ref::<MySqlDatabaseError>()
            .is_some_and(|error| error.number() == DUPLICATE_KEY_NAME)
    }

    /// Data exceptions and violations of constraints.
    fn is_refusal(&self, error: &dyn DatabaseError) -> bool {
        let is_of_class = error
            .code()
            .is_some_and(|code| ["22", "23"].iter().any(|class| code.starts_with(class)));
        let number = error
            .try_downcast_ref::<MySqlDatabaseError>()
            .map(MySqlDatabaseError::number);
        is_of_class || number.is_some_and(|number| REFUSED.contains(&number))
    }

    fn is_serialization_failure(&self, error: &dyn DatabaseError) -> bool {
        error
            .try_downcast_ref::<MySqlDatabaseError>()
            .is_some_and(|error| error.number() == CHANGED_SINCE_READ)
    }

    fn missing_table(&self, error: &dyn DatabaseError) -> Option<MissingTable> {
        let error = error.try_downcast_ref::<MySqlDatabaseError>()?;
        match error.number() {
            NO_SUCH_TABLE => {
                let (database, table) = quoted(error.message()).rsplit_once('.')?;
                Some(MissingTable {
                    table: table.to_owned(),
                    place: format!("in database `{database}`"),
                })
            }
            _ => None,
        }
    }

    fn is_transient(&self, error: &dyn DatabaseError) -> bool {
        error
            .try_downcast_ref::<MySqlDatabaseError>()
            .is_some_and(|error| TRANSIENT.contains(&error.number()))
    }

    fn counts_answers(&self) -> bool {
        true
    }

    fn is_disconnection(&self, error: &dyn DatabaseError) -> bool {
        error
            .try_downcast_ref::<MySqlDatabaseError>()
            .is_some_and(|error| DISCONNECTED.contains(&error.number()))
    }

    fn is_rolled_back(&self, error: &dyn DatabaseError) -> bool {
        error
            .try_downcast_ref::<MySqlDatabaseError>()
            .is_some_and(|error| ROLLED_BACK.contains(&error.number()))
    }

    fn is_read_only(&self, error: &dyn DatabaseError) -> bool {
        let error = error.try_downcast_ref::<MySqlDatabaseError>();
        error.is_some_and(|error| refuses_to_write(error.number(), error.message()))
    }

    /// MySQL and MariaDB each have some of these variables.
    fn ask_read_only(&self) -> Option<&'static str> {
        Some(
            "SHOW VARIABLES WHERE Variable_name IN ('transaction_read_only', 'tx_read_only', \
             'read_only', 'super_read_only', 'innodb_read_only') AND Value = 'ON'",
        )
    }

    fn commits_before(&self) -> &'static [&'static str] {
        &COMMITS_BEFORE
    }

    /// A lock wait timeout rolls the transaction back if `innodb_rollback_on_timeout` is on, and a
    /// procedure may have ended it. Inside a transaction this is refused and changes nothing; the
    /// default of a transaction is READ WRITE.
    fn look(&self) -> Look {
        Look::BeforeNext("SET TRANSACTION READ WRITE")
    }
}

/// The first quoted name in an error.
fn quoted(message: &str) -> &str {
    message.split('\'').nth(1).unwrap_or(message)
}

/// True if an error says that the session or the server takes no writes.
/// `ER_OPTION_PREVENTS_STATEMENT` names the option.
fn refuses_to_write(number: u16, message: &str) -> bool {
    match number {
        OPTION_PREVENTS_STATEMENT => message.contains("read-only") || message.contains("read_only"),
        number => READ_ONLY.contains(&number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_takes_no_writes_says_so_in_several_ways() {
        let prevents = |option: &str| {
            format!("The server is running with the {option} option so it cannot execute this")
        };
        assert!(refuses_to_write(1290, &prevents("--read-only")));
        assert!(refuses_to_write(1290, &prevents("--super-read-only")));
        assert!(refuses_to_write(
            1792,
            "Cannot execute statement in a READ ONLY transaction"
        ));
        assert!(refuses_to_write(1836, "Running in read-only mode"));
        assert!(!refuses_to_write(1290, &prevents("--secure-file-priv")));
        assert!(!refuses_to_write(1205, "Lock wait timeout exceeded"));
    }
}
