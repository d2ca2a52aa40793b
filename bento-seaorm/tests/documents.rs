//! The SQL of the pages in `docs` does what they say.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use bento_core::{domain_event, raise};
use bento_relay::Relay;
use bento_relay::publish::MemoryPublisher;
use bento_seaorm::migration::{migrations_with, up_alone};
use bento_seaorm::{OutboxConnection, OutboxStore, TablePrefix};
use sea_orm::{ConnectionTrait, DbBackend};
use sea_orm_migration::{MigrationTrait, MigratorTraitSelf};

use self::support::{TestDatabase, in_empty_database, on_every_back_end};

/// The pages whose statements have no test of their own: `rights.rs` runs those that grant rights.
const PAGES: [(&str, &str); 5] = [
    ("adopting", include_str!("../../docs/adopting.md")),
    ("event-design", include_str!("../../docs/event-design.md")),
    (
        "event-sourcing",
        include_str!("../../docs/event-sourcing.md"),
    ),
    (
        "troubleshooting",
        include_str!("../../docs/troubleshooting.md"),
    ),
    ("upgrading", include_str!("../../docs/upgrading.md")),
];
const DEPLOYING: &str = include_str!("../../docs/deploying.md");

#[domain_event(schema = "invoice.paid", version = 1)]
#[derive(Debug)]
struct InvoicePaid {}

/// The blocks of SQL on a page.
fn blocks(page: &str) -> impl Iterator<Item = &str> {
    page.split("```sql")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().trim())
}

/// True for every back end, or for those in the comment that the block begins with.
fn is_for(block: &str, backend: DbBackend) -> bool {
    let names: &[_] = match backend {
        DbBackend::Postgres => &["PostgreSQL"],
        DbBackend::MySql => &["MariaDB", "MySQL"],
        _ => &["SQLite"],
    };
    let first = block.lines().next().unwrap().strip_prefix("-- ");
    first.is_none_or(|named| named.split(", ").any(|name| names.contains(&name)))
}

on_every_back_end!(every_statement_of_the_pages_runs);

async fn every_statement_of_the_pages_runs(database: &TestDatabase) {
    let mut count = 0;
    for (page, text) in PAGES {
        for block in blocks(text).filter(|block| is_for(block, database.backend())) {
            let ran = database.db.execute_unprepared(block).await;
            ran.unwrap_or_else(|error| panic!("{page}: {block}\n{error}"));
            count += 1;
        }
    }
    assert!(count > 15, "the pages have SQL: {count}");
}

/// The migrator of a service, with Bento's migrations in it.
struct Spliced(TablePrefix);

impl MigratorTraitSelf for Spliced {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        migrations_with(self.0.clone())
    }
}

/// A service whose connections have always led to its schema begins to name it.
async fn a_migrator_gets_the_schema_by_the_documented_statement(database: &TestDatabase) {
    let schema = database.create_schema("billing").await;
    let led = database.connect_to_schema(&schema).await;
    up_alone(&led, Spliced(TablePrefix::default()))
        .await
        .unwrap();
    let raising = async |_: &_| raise(InvoicePaid {});
    OutboxConnection::new(led.clone())
        .transaction_async(raising)
        .await
        .unwrap();

    let named = TablePrefix::default().in_schema(&schema).unwrap();
    let untold = up_alone(&led, Spliced(named.clone()))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        untold.contains("m20260101_000001_bento_create_outbox"),
        "{untold}"
    );
    let told = blocks(DEPLOYING)
        .find(|block| block.starts_with("UPDATE seaql_migrations"))
        .unwrap();
    led.execute_unprepared(&told.replace("billing", &schema))
        .await
        .unwrap();
    up_alone(&led, Spliced(named.clone())).await.unwrap();
    Spliced(named.clone()).up(&led, None).await.unwrap();

    let applied = Spliced(named.clone())
        .get_applied_migrations(&led)
        .await
        .unwrap();
    let all = migrations_with(named.clone()).len();
    assert_eq!(applied.len(), all, "nothing is migrated anew");
    let store = OutboxStore::new(database.db.clone()).with_table_prefix(named);
    let report = Relay::builder(store, MemoryPublisher::new())
        .run_until_empty()
        .await
        .unwrap();
    assert_eq!(report.tally.published, 1, "the event from before is there");
    led.close().await.unwrap();
}

#[tokio::test]
async fn a_migrator_is_told_of_the_schema_on_postgres() {
    in_empty_database(
        DbBackend::Postgres,
        a_migrator_gets_the_schema_by_the_documented_statement,
    )
    .await;
}

#[tokio::test]
async fn a_migrator_is_told_of_the_schema_on_mysql() {
    in_empty_database(
        DbBackend::MySql,
        a_migrator_gets_the_schema_by_the_documented_statement,
    )
    .await;
}
