//! MySQL 8.0.17 and MariaDB 10.6, and later.

mod schema;

use bento_relay::telemetry::TARGET_RELAY;
use chrono::{DateTime, Utc};
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::sqlx::mysql::MySqlDatabaseError;
use sea_orm::{ConnectionTrait, DbBackend, IsolationLevel, Statement, TransactionOptions, Value};

use super::{
    Dialect, InsertLimits, Look, MissingSchema, MissingTable, PARAMETERS, Renewal, Renewed,
    Renewing, ShardsUpdate, Sql, Warning,
};
use crate::entity::BYTES;
use crate::session::{Shielded, StoreTransaction};
use crate::tables::Tables;

#[derive(Debug)]
pub(super) struct MySql;

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
/// `innodb_flush_log_at_trx_commit`: a commit waits for the disk.
const AT_EACH_COMMIT: i64 = 1;

impl Dialect for MySql {
    fn backend(&self) -> DbBackend {
        DbBackend::MySql
    }

    fn create_schema(&self, tables: &Tables) -> Vec<String> {
        schema::create(tables)
    }

    fn drop_schema(&self, tables: &Tables) -> Vec<String> {
        let mut statements = vec![format!("DROP VIEW IF EXISTS {}", tables.status())];
        statements.extend(
            tables
                .all()
                .map(|table| format!("DROP TABLE IF EXISTS {table}")),
        );
        statements
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

    /// The lock belongs to the session, and DDL does not end it. The name holds that of the
    /// database, whose tables are migrated.
    fn lock_migrations(&self, schema: Option<&str>) -> String {
        format!(
            "SELECT CAST(GET_LOCK({}, 3600) AS SIGNED)",
            lock_name(schema)
        )
    }

    fn unlock_migrations(&self, schema: Option<&str>) -> Option<String> {
        Some(format!("DO RELEASE_LOCK({})", lock_name(schema)))
    }

    fn is_already_there(&self, error: &dyn DatabaseError) -> bool {
        error
            .try_downcast_ref::<MySqlDatabaseError>()
            .is_some_and(|error| error.number() == DUPLICATE_KEY_NAME)
    }

    fn placeholder(&self, _number: usize, sql: &mut String) {
        sql.push('?');
    }

    /// A statement has 65,535 parameters at most, and a packet 16 MiB unless the server was told
    /// otherwise.
    fn insert_limits(&self) -> InsertLimits {
        InsertLimits {
            rows: 65_535 / PARAMETERS,
            bytes: 8 << 20,
        }
    }

    /// `INSERT IGNORE` would also truncate what is too long and swallow every other error.
    fn or_leave(&self, table: &str, key: &[&str]) -> String {
        let unchanged = key.first().expect("a key has columns");
        format!(" ON DUPLICATE KEY UPDATE {table}.{unchanged} = {table}.{unchanged}")
    }

    /// Of `ON DUPLICATE KEY UPDATE` MariaDB returns the rows that were there as well, and MySQL
    /// returns none. The number of affected rows says nothing either: the driver asks for found
    /// rows.
    fn returning(&self, _column: &str) -> Option<String> {
        None
    }

    fn now(&self) -> &'static str {
        "UTC_TIMESTAMP(6)"
    }

    fn after_micros(&self, placeholder: &str, sql: &mut String) {
        sql.push_str("(UTC_TIMESTAMP(6) + INTERVAL ");
        sql.push_str(placeholder);
        sql.push_str(" MICROSECOND)");
    }

    fn micros_until(&self, column: &str) -> String {
        format!("TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), {column})")
    }

    /// The list is filled up to a power of two with its last number, so that there are few texts to
    /// prepare.
    fn one_of(&self, numbers: Vec<i64>, sql: &mut String, values: &mut Vec<Value>) {
        let Some(&last) = numbers.last() else {
            sql.push_str(" IN (NULL)");
            return;
        };
        let length = numbers
            .len()
            .next_power_of_two()
            .min(numbers.len().max(32_768));
        sql.push_str(" IN (?");
        sql.push_str(&", ?".repeat(length - 1));
        sql.push(')');
        values.extend(
            numbers
                .into_iter()
                .chain(std::iter::repeat(last))
                .take(length)
                .map(Value::from),
        );
    }

    /// It can limit a DELETE, and cannot limit a subquery of IN.
    fn delete_some(&self, table: &str, _key: &str) -> (String, &'static str) {
        (format!("DELETE FROM {table}"), "")
    }

    /// Small tables are scanned otherwise, and with REPEATABLE READ a scan waits for every row that
    /// somebody has locked. The primary key finds and locks the rows in its order.
    fn update_shards(&self, table: &str) -> ShardsUpdate {
        ShardsUpdate::in_order(table, " FORCE INDEX (PRIMARY)")
    }

    /// Without a time zone the driver binds a DATETIME, which holds the years 1000 to 9999. With
    /// one it binds a TIMESTAMP, which ends in 2038.
    fn event_time(&self, time: DateTime<Utc>) -> Value {
        time.naive_utc().into()
    }

    fn relay_transaction(&self) -> TransactionOptions {
        TransactionOptions {
            isolation_level: Some(IsolationLevel::ReadCommitted),
            ..TransactionOptions::default()
        }
    }

    fn warn_unless_durable<'a>(&'a self, db: &'a Shielded) -> Warning<'a> {
        Box::pin(async move {
            let asked = "SELECT CAST(@@innodb_flush_log_at_trx_commit AS SIGNED)";
            let row = db
                .query_one_raw(Statement::from_string(DbBackend::MySql, asked))
                .await?;
            warn_unless_flushed(row.map_or(Ok(AT_EACH_COMMIT), |row| row.try_get_by_index(0))?);
            Ok(())
        })
    }

    /// The statement hands the revision back as the last insert id, which saves a round trip.
    fn renew<'a>(&'a self, tx: &'a StoreTransaction, renewal: Renewal<'a>) -> Renewing<'a> {
        Box::pin(async move {
            let Renewal {
                tables,
                lease,
                ttl,
                published,
                keep,
            } = renewal;
            let renew = Sql::new(
                &MySql,
                &format!("UPDATE {} SET expires_at = ", tables.shard()),
            )
            .after(ttl)
            .push(", revision = LAST_INSERT_ID(revision) WHERE shard = ")
            .bind(lease.shard)
            .push(" AND owner = ")
            .bind(lease.owner.0)
            .push(" AND epoch = ")
            .bind(lease.epoch);
            let renewed = tx.execute_raw(renew.build()).await?;
            if renewed.rows_affected() == 0 {
                return Ok(None);
            }
            super::settle_published(tx, &MySql, tables, lease.shard, published, keep).await?;
            Ok(Some(Renewed {
                revision: renewed.last_insert_id().cast_signed(),
                horizon: None,
            }))
        })
    }

    fn shown(&self, column: &str) -> Option<String> {
        match column {
            "event_id" => Some(format!("HEX({column})")),
            column => (!BYTES.contains(&column)).then(|| format!("CAST({column} AS CHAR)")),
        }
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

    fn is_disconnection(&self, error: &dyn DatabaseError) -> bool {
        error
            .try_downcast_ref::<MySqlDatabaseError>()
            .is_some_and(|error| DISCONNECTED.contains(&error.number()))
    }

    fn is_read_only(&self, error: &dyn DatabaseError) -> bool {
        let error = error.try_downcast_ref::<MySqlDatabaseError>();
        error.is_some_and(|error| refuses_to_write(error.number(), error.message()))
    }

    /// Not each server has each of these variables.
    fn ask_read_only(&self) -> Option<&'static str> {
        Some(
            "SHOW VARIABLES WHERE Variable_name IN ('transaction_read_only', 'tx_read_only', \
             'read_only', 'super_read_only', 'innodb_read_only') AND Value = 'ON'",
        )
    }

    /// A lock wait timeout rolls the transaction back if `innodb_rollback_on_timeout` is on, and a
    /// procedure may have ended it. Inside a transaction this is refused and changes nothing; the
    /// default of a transaction is READ WRITE.
    fn look(&self) -> Look {
        Look::BeforeNext("SET TRANSACTION READ WRITE")
    }

    fn is_rolled_back(&self, error: &dyn DatabaseError) -> bool {
        error
            .try_downcast_ref::<MySqlDatabaseError>()
            .is_some_and(|error| ROLLED_BACK.contains(&error.number()))
    }
}

/// The server's setting belongs to everybody, so that the relay says what it sees and changes
/// nothing.
fn warn_unless_flushed(at_commit: i64) {
    if at_commit != AT_EACH_COMMIT {
        tracing::warn!(
            target: TARGET_RELAY,
            innodb_flush_log_at_trx_commit = at_commit,
            "the server does not flush its log at each commit: an event may be published and then \
             be lost in a crash; set `innodb_flush_log_at_trx_commit = 1`"
        );
    }
}

/// The lock of a database; of no database for a session that has chosen none.
fn lock_name(schema: Option<&str>) -> String {
    let database = schema.map_or_else(
        || "COALESCE(DATABASE(), '')".to_owned(),
        |schema| format!("'{schema}'"),
    );
    format!("CONCAT('bento_migration.', MD5({database}))")
}

/// The things that an error names.
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    use super::*;

    /// Counts what is logged.
    struct Lines(Arc<AtomicUsize>);

    impl<S: tracing::Subscriber> Layer<S> for Lines {
        fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

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

    #[test]
    fn a_log_that_is_not_flushed_at_each_commit_is_warned_of() {
        let lines = Arc::<AtomicUsize>::default();
        let subscriber = tracing_subscriber::registry().with(Lines(Arc::clone(&lines)));
        let _guard = tracing::subscriber::set_default(subscriber);
        let counted = [1, 0, 2].map(|setting| {
            let before = lines.load(Ordering::Relaxed);
            warn_unless_flushed(setting);
            lines.load(Ordering::Relaxed) - before
        });
        assert_eq!(counted, [0, 1, 1]);
    }
}
