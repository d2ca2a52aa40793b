//! Makes the transaction that settles long enough to be interrupted: a trigger takes its time for
//! every row that is deleted.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};

/// A tenth of a second for each row, so seconds for each batch.
pub async fn begin(database: &DatabaseConnection) {
    let statements = match database.get_database_backend() {
        DbBackend::Postgres => POSTGRES,
        DbBackend::MySql => MYSQL,
        _ => SQLITE,
    };
    for statement in statements {
        database.execute_unprepared(statement).await.unwrap();
    }
}

/// Waits for what the process that was killed has left running in the server.
pub async fn end(database: &DatabaseConnection) {
    let on = if database.get_database_backend() == DbBackend::Postgres {
        " ON bento_outbox"
    } else {
        ""
    };
    database
        .execute_unprepared(&format!("DROP TRIGGER slow_settling{on}"))
        .await
        .unwrap();
}

const POSTGRES: &[&str] = &[
    "CREATE FUNCTION take_time() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM \
     pg_sleep(0.1); RETURN NULL; END $$",
    "CREATE TRIGGER slow_settling AFTER DELETE ON bento_outbox FOR EACH ROW EXECUTE FUNCTION \
     take_time()",
];

const MYSQL: &[&str] =
    &["CREATE TRIGGER slow_settling AFTER DELETE ON bento_outbox FOR EACH ROW DO SLEEP(0.1)"];

/// SQLite cannot sleep: it counts to some millions.
const SQLITE: &[&str] = &[
    "CREATE TABLE digit (value integer NOT NULL)",
    "INSERT INTO digit VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)",
    "CREATE TABLE counted (value integer NOT NULL)",
    "CREATE TRIGGER slow_settling AFTER DELETE ON bento_outbox FOR EACH ROW BEGIN
        INSERT INTO counted SELECT count(*)
            FROM digit a, digit b, digit c, digit d, digit e, digit f,
                (SELECT 1 FROM digit LIMIT 3);
        END",
];
