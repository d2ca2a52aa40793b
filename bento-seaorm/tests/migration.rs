//! The migrations: alone, in another migrator, under another prefix, up and down, and what the view
//! shows.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use bento_core::Envelope;
use bento_core::event::EventKind;
use bento_core::outbox::OutboxEntry;
use bento_seaorm::migration::{Migrator, PrefixedMigrator, up_alone};
use bento_seaorm::{TablePrefix, testing, validate_stored};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement, TransactionTrait};
use sea_orm_migration::prelude::*;

use self::support::TestDatabase;

macro_rules! on_every_empty_back_end {
    ($($rule:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $rule() {
                crate::support::in_empty_database(sea_orm::DbBackend::Sqlite, super::$rule).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $rule() {
                crate::support::in_empty_database(sea_orm::DbBackend::Postgres, super::$rule).await;
            })+
        }
        mod mysql {
            $(#[tokio::test]
            async fn $rule() {
                crate::support::in_empty_database(sea_orm::DbBackend::MySql, super::$rule).await;
            })+
        }
    };
}

on_every_empty_back_end!(
    down_leaves_nothing_and_up_works_again,
    two_prefixes_live_side_by_side,
    the_longest_prefix_fits,
    they_splice_into_another_migrator,
    processes_that_start_together_migrate_once,
    a_migrator_of_ones_own_runs_in_one_process_at_a_time,
    what_fresh_leaves_behind_is_no_obstacle,
    the_view_shows_one_row_per_event_and_json_as_json,
    what_no_type_declares_is_found_before_it_is_served,
);

async fn tables(db: &DatabaseConnection) -> Vec<String> {
    let backend = db.get_database_backend();
    let sql = match backend {
        DbBackend::Postgres => {
            "SELECT relname::text FROM pg_class
             WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'S')
             UNION ALL SELECT proname::text FROM pg_proc
             WHERE pronamespace = 'public'::regnamespace"
        }
        DbBackend::MySql => {
            "SELECT table_name FROM information_schema.tables WHERE table_schema \
                             = database()"
        }
        _ => {
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE \
              'sqlite%'"
        }
    };
    let rows = db
        .query_all_raw(Statement::from_string(backend, sql))
        .await
        .unwrap();
    let mut names: Vec<String> = rows
        .iter()
        .map(|row| row.try_get_by_index(0).unwrap())
        .collect();
    names.sort();
    names
}

async fn down_leaves_nothing_and_up_works_again(database: &TestDatabase) {
    let db = &database.db;
    for _ in 0..2 {
        Migrator::up(db, None).await.unwrap();
        assert!(tables(db).await.contains(&"bento_outbox_status".to_owned()));
        Migrator::down(db, None).await.unwrap();
        let left: Vec<_> = tables(db)
            .await
            .into_iter()
            .filter(|name| !name.starts_with("bento_migration"))
            .collect();
        assert_eq!(left, Vec::<String>::new());
    }
}

async fn two_prefixes_live_side_by_side(database: &TestDatabase) {
    let db = &database.db;
    bento_seaorm::migrate(db).await.unwrap();
    bento_seaorm::migrate_with(db, "sales_".try_into().unwrap())
        .await
        .unwrap();
    write(db, vec![entry("a", "{}")]).await;
    assert_eq!(
        database
            .number("SELECT count(*) FROM bento_outbox_status")
            .await,
        1
    );
    assert_eq!(
        database
            .number("SELECT count(*) FROM sales_outbox_status")
            .await,
        0
    );
    sea_orm_migration::MigratorTraitSelf::down(
        &PrefixedMigrator("sales_".try_into().unwrap()),
        db,
        None,
    )
    .await
    .unwrap();
    assert_eq!(
        database
            .number("SELECT count(*) FROM bento_outbox_status")
            .await,
        1
    );
}

async fn the_longest_prefix_fits(database: &TestDatabase) {
    let prefix =
        |last: &str| TablePrefix::new("p".repeat(TablePrefix::MAX_LEN - 1) + last).unwrap();
    bento_seaorm::migrate_with(&database.db, prefix("a"))
        .await
        .unwrap();
    bento_seaorm::migrate_with(&database.db, prefix("b"))
        .await
        .unwrap();
    assert!(
        tables(&database.db)
            .await
            .iter()
            .all(|name| name.len() <= 63)
    );
}

/// An application's migrator with migrations of its own around Bento's.
struct Spliced;

#[derive(DeriveMigrationName)]
struct CreateOrders;

#[async_trait::async_trait]
impl MigrationTrait for CreateOrders {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared("CREATE TABLE orders (id INT PRIMARY KEY)")
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared("DROP TABLE orders")
            .await?;
        Ok(())
    }
}

impl MigratorTrait for Spliced {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut migrations = bento_seaorm::migration::migrations();
        migrations.push(Box::new(CreateOrders));
        migrations.extend(bento_seaorm::migration::migrations_with(
            "sales_".try_into().unwrap(),
        ));
        migrations
    }
}

async fn they_splice_into_another_migrator(database: &TestDatabase) {
    let db = &database.db;
    Spliced::up(db, None).await.unwrap();
    Spliced::up(db, None).await.unwrap();
    let names = tables(db).await;
    assert!(
        ["bento_outbox", "orders", "sales_outbox"]
            .iter()
            .all(|name| names.contains(&(*name).to_owned()))
    );
    Spliced::down(db, None).await.unwrap();
    assert!(!tables(db).await.contains(&"bento_outbox".to_owned()));
}

/// Six processes, each with a pool of its own.
async fn processes(database: &TestDatabase) -> Vec<DatabaseConnection> {
    futures_util::future::join_all((0..6).map(|_| database.connect(1))).await
}

async fn processes_that_start_together_migrate_once(database: &TestDatabase) {
    let pools = processes(database).await;
    for migrated in futures_util::future::join_all(pools.iter().map(bento_seaorm::migrate)).await {
        migrated.unwrap();
    }
    assert_eq!(
        database
            .number("SELECT count(*) FROM bento_migration")
            .await,
        bento_seaorm::migration::migrations().len() as i64
    );
}

async fn a_migrator_of_ones_own_runs_in_one_process_at_a_time(database: &TestDatabase) {
    let pools = processes(database).await;
    for migrated in
        futures_util::future::join_all(pools.iter().map(|db| up_alone(db, Spliced))).await
    {
        migrated.unwrap();
    }
    assert_eq!(
        database
            .number("SELECT count(*) FROM seaql_migrations")
            .await,
        Spliced::migrations().len() as i64
    );
    for migrated in
        futures_util::future::join_all(pools.iter().map(|db| up_alone(db, Spliced))).await
    {
        migrated.unwrap();
    }
}

async fn what_fresh_leaves_behind_is_no_obstacle(database: &TestDatabase) {
    let db = &database.db;
    Spliced::up(db, None).await.unwrap();
    let whole = tables(db).await;
    for _ in 0..2 {
        Spliced::fresh(db).await.unwrap();
        assert_eq!(tables(db).await, whole);
        Spliced::up(db, None).await.unwrap();
    }
    // A migrator that forgot what it did, as after a dump of some of the tables was read back.
    db.execute_unprepared(
        "DELETE FROM seaql_migrations WHERE version LIKE '%outbox' OR version LIKE '%inbox'",
    )
    .await
    .unwrap();
    Spliced::up(db, None).await.unwrap();
    assert_eq!(tables(db).await, whole);
}

fn entry(aggregate_id: &str, payload: &'static str) -> OutboxEntry {
    let mut envelope = Envelope::new("thing.happened", 1, chrono::Utc::now(), payload);
    envelope.aggregate_type = "thing".into();
    envelope.aggregate_id = aggregate_id.to_owned();
    OutboxEntry {
        shard: 0,
        may_be_known: false,
        envelope,
    }
}

async fn write(db: &DatabaseConnection, entries: Vec<OutboxEntry>) {
    let tx = db.begin().await.unwrap();
    testing::write(&tx, entries).await.unwrap();
    tx.commit().await.unwrap();
}

async fn the_view_shows_one_row_per_event_and_json_as_json(database: &TestDatabase) {
    bento_seaorm::migrate(&database.db).await.unwrap();
    let mut binary = entry("binary", "");
    binary.envelope.payload = vec![0xff, 0x00, 0xfe].into();
    binary.envelope.headers = vec![0xfe, 0x00].into();
    let mut encrypted = entry("encrypted", "{\"not\": \"shown\"}");
    encrypted.envelope.content_encoding = Some("aes".to_owned());
    encrypted.envelope.kind = EventKind::Integration;
    let ids = binary.envelope.event_id.to_string();
    write(
        &database.db,
        vec![
            entry("held", "{\"total\": 7}"),
            binary,
            encrypted,
            entry("dead", "{}"),
            entry("out", "{}"),
        ],
    )
    .await;
    publish(database, "'held', 'dead', 'out'").await;
    for route in ["a", "b"] {
        copy(
            database,
            "held",
            "bento_outbox_held",
            route,
            "ordered",
            "(1 = 1)",
        )
        .await;
        let columns = "attempts, error_message, cause, parks, first_failed_at, failed_at";
        let values = "3, 'e', 'c', (1 = 1), occurred_at, occurred_at";
        copy(
            database,
            "dead",
            "bento_dead_letter",
            route,
            columns,
            values,
        )
        .await;
    }
    let gone = "DELETE FROM bento_outbox WHERE aggregate_id IN ('held', 'dead', 'out')";
    database.db.execute_unprepared(gone).await.unwrap();

    let counts = "SELECT status, count(*) FROM bento_outbox_status GROUP BY status ORDER BY status";
    assert_eq!(
        two_columns(database, counts).await,
        [("dead", 1), ("held", 1), ("pending", 2), ("published", 1)].map(own)
    );
    let shown = "SELECT aggregate_id, CASE WHEN payload IS NULL THEN 0 ELSE 1 END FROM \
                 bento_outbox_status ORDER BY 1";
    let expected = [
        ("binary", 0),
        ("dead", 1),
        ("encrypted", 0),
        ("held", 1),
        ("out", 1),
    ]
    .map(own);
    assert_eq!(two_columns(database, shown).await, expected);
    let kinds = "SELECT kind, count(*) FROM bento_outbox_status GROUP BY kind ORDER BY kind";
    assert_eq!(
        two_columns(database, kinds).await,
        [("domain", 4), ("integration", 1)].map(own)
    );
    let by_id = format!(
        "SELECT count(*) FROM bento_outbox_status WHERE event_id = '{ids}' AND headers IS NULL"
    );
    assert_eq!(database.number(&by_id).await, 1);
}

fn own((name, number): (&str, i64)) -> (String, i64) {
    (name.to_owned(), number)
}

async fn two_columns(database: &TestDatabase, sql: &str) -> Vec<(String, i64)> {
    let rows = database
        .db
        .query_all_raw(Statement::from_string(database.backend(), sql))
        .await
        .unwrap();
    let number = |row: &sea_orm::QueryResult| {
        row.try_get_by_index::<i64>(1)
            .or_else(|_| row.try_get_by_index::<i32>(1).map(i64::from))
            .unwrap()
    };
    rows.iter()
        .map(|row| (row.try_get_by_index(0).unwrap(), number(row)))
        .collect()
}

/// Copies the events of these aggregates to the published rows.
async fn publish(database: &TestDatabase, ids: &str) {
    let sql = format!(
        "INSERT INTO bento_outbox_published (shard, position, {EVENT}, published_at) SELECT \
         shard, position, {EVENT}, occurred_at FROM bento_outbox WHERE aggregate_id IN ({ids})"
    );
    database.db.execute_unprepared(&sql).await.unwrap();
}

const EVENT: &str =
    "event_id, event_type, schema_version, aggregate_type, aggregate_id, occurred_at, payload";

async fn copy(
    database: &TestDatabase,
    id: &str,
    table: &str,
    route: &str,
    columns: &str,
    values: &str,
) {
    let sql = format!(
        "INSERT INTO {table} (shard, position, route, {EVENT}, {columns}) SELECT shard, position, \
         '{route}', {EVENT}, {values} FROM bento_outbox WHERE aggregate_id = '{id}'"
    );
    database.db.execute_unprepared(&sql).await.unwrap();
}

async fn what_no_type_declares_is_found_before_it_is_served(database: &TestDatabase) {
    let missing = validate_stored(&database.db).await.unwrap_err();
    assert!(missing.to_string().contains("bento::migrate"), "{missing}");
    bento_seaorm::migrate(&database.db).await.unwrap();
    let mut enqueued = entry("bytes", "x");
    enqueued.envelope.schema_version = 0;
    write(&database.db, vec![enqueued]).await;
    assert!(validate_stored(&database.db).await.unwrap().is_complete());
    write(&database.db, vec![entry("a", "{}"), entry("b", "{}")]).await;
    copy(
        database,
        "a",
        "bento_outbox_held",
        "d",
        "ordered",
        "(1 = 1)",
    )
    .await;
    let report = validate_stored(&database.db).await.unwrap();
    assert!(report.is_ok(), "another release may declare it: {report}");
    let refused = report.into_strict_result().unwrap_err().to_string();
    assert!(
        refused.contains("`thing.happened` version 1 in outbox"),
        "{refused}"
    );
    assert!(refused.contains("in held rows"), "{refused}");
}
