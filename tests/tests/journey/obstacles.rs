//! Obstacles that stop the relay until somebody removes them: missing tables, and rows that cannot
//! be read.

use bento_relay::Relay;
use bento_relay::dead_letter::{DeadLetterFilter, DeadLetterQuery, DeadLetters, Discarding};
use bento_relay::store::NewDeadLetter;
use sea_orm::{ConnectionTrait, Statement};

use crate::support::log::Log;
use crate::support::{TestDatabase, in_empty_database, on_every_back_end};
use crate::{Journey, place, until};

/// On one thread, because the log is that of the thread.
macro_rules! in_every_empty_database {
    ($rule:ident: $($name:ident = $backend:ident),+) => {
        mod missing_tables {
            $(mod $name {
                #[tokio::test]
                async fn $rule() {
                    let backend = sea_orm::DbBackend::$backend;
                    super::super::in_empty_database(backend, super::super::$rule).await;
                }
            })+
        }
    };
}

in_every_empty_database!(
    a_relay_that_starts_before_the_migration_names_it_and_waits:
        sqlite = Sqlite, postgres = Postgres, mysql = MySql
);

async fn a_relay_that_starts_before_the_migration_names_it_and_waits(database: &TestDatabase) {
    let (log, _guard) = Log::start();
    let journey = Journey::on(database).await;
    let relay = Relay::builder(journey.store(), journey.broker.clone())
        .start()
        .unwrap();
    let line = log
        .line(&[
            "ERROR",
            "bento::relay",
            "the outbox store cannot be opened, will try again",
        ])
        .await;
    assert!(
        line.contains("table `bento_outbox_meta` is missing in "),
        "{line}"
    );
    assert!(line.contains("run `bento::migrate(&db)`"), "{line}");

    bento_seaorm::migrate(&database.db).await.unwrap();
    journey
        .connection
        .transaction_async(async |tx| place(tx, 1..=1).await)
        .await
        .unwrap();
    journey.broker.wait_for(2).await;
    relay.stop().await.unwrap();
    assert_eq!(journey.topics(1), ["parcel.sent", "parcel.delivered"]);
}

on_every_back_end!(rows_that_cannot_be_read_cost_their_aggregates_alone);

async fn rows_that_cannot_be_read_cost_their_aggregates_alone(database: &TestDatabase) {
    let journey = Journey::on(database).await;
    journey
        .connection
        .transaction_async(async |tx| place(tx, 1..=80).await)
        .await
        .unwrap();
    let spoilt = spoil_a_row_in_eight_shards(database).await;

    // Shards whose first row cannot be read are twice as many as workers.
    let relay = journey.start_relay();
    // Behind each spoilt row waits the other event of its parcel.
    journey.broker.wait_for(160 - 2 * 8).await;
    until(async || database.number("SELECT count(*) FROM bento_outbox").await == 0).await;
    assert_eq!(relay.health().degraded, []);
    relay.stop().await.unwrap();
    assert!(
        spoilt
            .iter()
            .all(|&parcel| journey.topics(parcel).is_empty())
    );

    let store = journey.store();
    let letters = store.list(&DeadLetterQuery::default()).await.unwrap();
    assert_eq!(letters.len(), 8);
    assert!(
        letters
            .iter()
            .all(|letter| letter.cause == NewDeadLetter::UNREADABLE),
        "{letters:?}"
    );
    let discarding = Discarding::because("written by hand").unwrap();
    assert_eq!(
        store
            .discard_all(&DeadLetterFilter::default(), &discarding)
            .await
            .unwrap(),
        8
    );
    journey.publish_all().await;
    assert_eq!(journey.broker.published().len(), 160 - 8);
    assert!(
        spoilt
            .iter()
            .all(|&parcel| journey.topics(parcel) == ["parcel.delivered"])
    );
}

/// Makes the first row of each of eight shards unreadable. Returns their parcels.
async fn spoil_a_row_in_eight_shards(database: &TestDatabase) -> Vec<i64> {
    let first = "SELECT min(position) FROM bento_outbox GROUP BY shard ORDER BY 1 LIMIT 8";
    let statement = Statement::from_string(database.backend(), first);
    let rows = database.db.query_all_raw(statement).await.unwrap();
    assert_eq!(rows.len(), 8);
    let mut parcels = Vec::new();
    for row in rows {
        let position: i64 = row.try_get_by_index(0).unwrap();
        let change = "UPDATE bento_outbox SET routing_version = -7 WHERE position";
        database
            .db
            .execute_unprepared(&format!("{change} = {position}"))
            .await
            .unwrap();
        // Each parcel has two events, one after the other.
        parcels.push((position + 1) / 2);
    }
    parcels
}
