//! What stands in the way of the relay until somebody removes it: tables that are not there yet, a row that cannot be read.

use bento_core::relay::{Relay, RelayError, StoreError};
use sea_orm::{ConnectionTrait, DbBackend};

use crate::support::log::Log;
use crate::support::{TestDatabase, in_empty_database, on_every_back_end};
use crate::{Journey, place};

/// On one thread, because the log is that of the thread.
macro_rules! in_every_empty_database {
    ($rule:ident: $($name:ident = $backend:ident),+) => {
        mod missing_tables {
            $(mod $name {
                #[tokio::test]
                async fn $rule() {
                    super::super::in_empty_database(sea_orm::DbBackend::$backend, super::super::$rule).await;
                }
            })+
        }
    };
}

in_every_empty_database!(
    a_relay_that_starts_before_the_migration_names_it_and_waits: sqlite = Sqlite, postgres = Postgres, mysql = MySql
);

async fn a_relay_that_starts_before_the_migration_names_it_and_waits(database: &TestDatabase) {
    let (log, _guard) = Log::start();
    let journey = Journey::on(database).await;
    let relay = Relay::builder(journey.store(), journey.broker.clone()).start().unwrap();
    let line = log.line(&["ERROR", "bento::relay", "the outbox store cannot be opened, will try again"]).await;
    assert!(line.contains("table `bento_outbox_meta` is missing; run `bento_seaorm::migrate(&db)`"), "{line}");

    bento_seaorm::migrate(&database.db).await.unwrap();
    journey.connection.transaction_async(async |tx| place(tx, 1..=1).await).await.unwrap();
    journey.broker.wait_for(2).await;
    relay.stop().await.unwrap();
    assert_eq!(journey.topics(1), ["parcel.sent", "parcel.delivered"]);
}

on_every_back_end!(a_row_that_cannot_be_read_stops_its_shard_and_nothing_is_lost);

async fn a_row_that_cannot_be_read_stops_its_shard_and_nothing_is_lost(database: &TestDatabase) {
    let journey = Journey::on(database).await;
    journey.connection.transaction_async(async |tx| place(tx, 1..=20).await).await.unwrap();
    spoil_the_first_row(database).await;
    let stopped = "shard = (SELECT shard FROM bento_outbox WHERE position = 1)";
    let others = database.number(&format!("SELECT count(*) FROM bento_outbox WHERE NOT {stopped}")).await;

    let relay = journey.start_relay();
    journey.broker.wait_for(usize::try_from(others).unwrap()).await;
    relay.stop().await.unwrap();
    assert_eq!(database.number("SELECT count(*) FROM bento_outbox").await, 40 - others);
    assert_eq!(journey.topics(1), [""; 0]);

    let refused = Relay::builder(journey.store(), journey.broker.clone()).run_until_empty().await.unwrap_err();
    let RelayError::Store(StoreError::Corrupt { reason, .. }) = &refused else { panic!("{refused:?}") };
    assert!(reason.starts_with("`bento_outbox`, shard ") && reason.ends_with(", position 1"), "{reason}");

    let mended = "UPDATE bento_outbox SET occurred_at = '2026-01-01 00:00:00' WHERE position = 1";
    database.db.execute_unprepared(mended).await.unwrap();
    journey.publish_all().await;
    assert_eq!(journey.broker.published().len(), 40);
    assert_eq!(journey.topics(1), ["parcel.sent", "parcel.delivered"]);
}

/// SQLite takes any value in any column; the others have to be told to take none.
async fn spoil_the_first_row(database: &TestDatabase) {
    let statements: &[&str] = match database.backend() {
        DbBackend::Postgres => &[
            "ALTER TABLE bento_outbox ALTER COLUMN occurred_at DROP NOT NULL",
            "UPDATE bento_outbox SET occurred_at = NULL WHERE position = 1",
        ],
        DbBackend::MySql => &[
            "ALTER TABLE bento_outbox MODIFY COLUMN occurred_at DATETIME(6) NULL",
            "UPDATE bento_outbox SET occurred_at = NULL WHERE position = 1",
        ],
        _ => &["UPDATE bento_outbox SET occurred_at = 'once upon a time' WHERE position = 1"],
    };
    for statement in statements {
        database.db.execute_unprepared(statement).await.unwrap();
    }
}
