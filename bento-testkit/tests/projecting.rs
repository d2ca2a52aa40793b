//! The events that `project_all` brings, and its failures.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test of what users write"
)]

use bento_core::{PendingEvents, aggregate, domain_event};
use bento_handlers::{Batch, HandleError, Handlers, ProjectionSettings, projection};
use bento_seaorm::{OutboxConnection, OutboxStore, OutboxTransaction, ProjectionStatus};
use bento_testkit::{database_in_memory, project_all};
use sea_orm::{ConnectionTrait as _, Statement};

#[domain_event(schema = "account.deposited", version = 1)]
#[derive(Clone, Debug)]
pub struct Deposited {
    pub cents: i64,
}

#[aggregate(event_sourced, name = "account", events(Deposited))]
#[derive(Debug, Default)]
pub struct Account {
    id: String,
    #[aggregate(version)]
    version: i64,
    events: PendingEvents,
}

impl Account {
    fn apply(&mut self, _: &AccountEvent) {}
}

/// Refuses an event of no cents.
#[derive(Debug)]
#[projection(name = "total", version = 1)]
pub struct Total;

impl Total {
    async fn project(
        &self,
        events: Batch<Deposited>,
        tx: &OutboxTransaction,
    ) -> Result<(), HandleError> {
        if events.iter().any(|event| event.cents == 0) {
            return Err(HandleError::permanent("nothing was deposited"));
        }
        let cents: i64 = events.iter().map(|event| event.cents).sum();
        tx.execute_unprepared(&format!("UPDATE total SET cents = cents + {cents}"))
            .await?;
        Ok(())
    }
}

async fn database() -> OutboxConnection {
    let db = database_in_memory().await;
    let create = "CREATE TABLE total AS SELECT 0 AS cents";
    db.execute_unprepared(create).await.unwrap();
    db
}

async fn deposit(db: &OutboxConnection, cents: &[i64]) {
    let tx = db.begin().await.unwrap();
    let account = tx.load::<Account>("A-1").await.unwrap();
    let mut account = account.unwrap_or_else(|| Account {
        id: "A-1".to_owned(),
        ..Account::default()
    });
    for &cents in cents {
        account.raise(Deposited { cents });
    }
    tx.save(&mut account).await.unwrap();
    tx.commit().await.unwrap();
}

async fn total(db: &OutboxConnection) -> i64 {
    let select = Statement::from_string(db.get_database_backend(), "SELECT cents FROM total");
    let row = db.query_one_raw(select).await.unwrap().unwrap();
    row.try_get_by_index(0).unwrap()
}

#[tokio::test]
async fn it_brings_what_is_stored_and_what_comes_later() {
    let db = database().await;
    deposit(&db, &[1, 2, 3]).await;
    let delete = db.execute_unprepared("DELETE FROM bento_outbox").await;
    assert_eq!(delete.unwrap().rows_affected(), 3);
    let dispatcher = Handlers::registered().build(&db).unwrap();
    project_all(&dispatcher, &db).await;
    assert_eq!(total(&db).await, 6);
    deposit(&db, &[40]).await;
    project_all(&dispatcher, &db).await;
    project_all(&dispatcher, &db).await;
    assert_eq!(total(&db).await, 46);
}

#[tokio::test]
#[should_panic(expected = "projection `total` version 1 has stopped at the event ")]
async fn it_fails_where_a_version_stops() {
    let db = database().await;
    let dispatcher = Handlers::registered().build(&db).unwrap();
    project_all(&dispatcher, &db).await;
    deposit(&db, &[5, 0, 7]).await;
    project_all(&dispatcher, &db).await;
}

#[tokio::test]
async fn it_leaves_a_version_waiting_that_an_operator_builds() {
    let db = database().await;
    deposit(&db, &[5]).await;
    let dispatcher = Handlers::registered()
        .configure_projection("total", ProjectionSettings::default().manual())
        .build(&db)
        .unwrap();
    project_all(&dispatcher, &db).await;
    assert_eq!(total(&db).await, 0);
    let projections = bento_seaorm::Projections::new(OutboxStore::new(db.inner().clone()));
    let states = projections.list().await.unwrap();
    assert_eq!(states[0].status, ProjectionStatus::Waiting);
}
