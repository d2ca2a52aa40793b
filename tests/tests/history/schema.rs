//! The tables around the outbox: accounts, ground truth, the broker's log, and copies for the wrong
//! readers.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};

/// The number of accounts; an equal number takes the early flush.
pub const ACCOUNTS: i64 = 50;

pub async fn create(database: &DatabaseConnection) {
    let statements = match database.get_database_backend() {
        DbBackend::Postgres => POSTGRES,
        _ => MYSQL,
    };
    for statement in TABLES.iter().chain(statements) {
        database
            .execute_unprepared(statement)
            .await
            .expect("the test's tables can be made");
    }
    for table in ["account", "early_account"] {
        let rows = (1..=ACCOUNTS)
            .map(|id| format!("({id}, 0)"))
            .collect::<Vec<_>>()
            .join(",");
        let sql = format!("INSERT INTO {table} (id, version) VALUES {rows}");
        database
            .execute_unprepared(&sql)
            .await
            .expect("accounts can be written");
    }
}

const TABLES: &[&str] = &[
    "CREATE TABLE account (id bigint PRIMARY KEY, version bigint NOT NULL)",
    "CREATE TABLE early_account (id bigint PRIMARY KEY, version bigint NOT NULL)",
    "CREATE TABLE truth (token varchar(40) PRIMARY KEY, account bigint NOT NULL, version bigint \
     NOT NULL)",
];

/// The copies are filled by a trigger in the writer's own transaction, and nothing but the wrong
/// readers touches them.
const POSTGRES: &[&str] = &[
    "CREATE TABLE broker_log (id bigserial PRIMARY KEY, relay varchar(40) NOT NULL,
        token varchar(40) NOT NULL, event_type varchar(40) NOT NULL)",
    "CREATE TABLE cursor_copy (position bigint PRIMARY KEY)",
    "CREATE TABLE queue_copy (position bigint PRIMARY KEY, payload bytea NOT NULL)",
    "CREATE FUNCTION copy_outbox() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.event_type = 'account.counted' THEN
            INSERT INTO cursor_copy VALUES (NEW.position);
            INSERT INTO queue_copy VALUES (NEW.position, NEW.payload);
        END IF;
        RETURN NULL; END $$",
    "CREATE TRIGGER copy_outbox AFTER INSERT ON bento_outbox FOR EACH ROW EXECUTE FUNCTION \
     copy_outbox()",
];

const MYSQL: &[&str] = &[
    "CREATE TABLE broker_log (id bigint AUTO_INCREMENT PRIMARY KEY, relay varchar(40) NOT NULL,
        token varchar(40) NOT NULL, event_type varchar(40) NOT NULL)",
    "CREATE TABLE cursor_copy (position bigint PRIMARY KEY)",
    "CREATE TABLE queue_copy (position bigint PRIMARY KEY, payload longblob NOT NULL)",
    "CREATE TRIGGER copy_outbox AFTER INSERT ON bento_outbox FOR EACH ROW BEGIN
        IF NEW.event_type = 'account.counted' THEN
            INSERT INTO cursor_copy VALUES (NEW.position);
            INSERT INTO queue_copy VALUES (NEW.position, NEW.payload);
        END IF;
        END",
];
