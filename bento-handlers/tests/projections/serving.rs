//! Relays of the outbox and of the inbox that have a version, and the end of one that none has.

use std::time::Duration;

use bento_core::Envelope;
use bento_handlers::source::MemorySource;
use bento_handlers::{Batch, Consumer, ConsumerHandle, HandleError, Handlers, projection};
use bento_relay::publish::{HandlerRoute, Publisher as _, RelayTerms, StartFrom};
use bento_relay::store::RelayStore as _;
use bento_seaorm::{
    Checkpoint, Inbox, OutboxConnection, OutboxStore, OutboxTransaction, ProjectionError,
    ProjectionKey, ProjectionStatus,
};
use chrono::Utc;
use sea_orm::ConnectionTrait;

use crate::scene::{Opened, Scene, v1};
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    a_version_of_a_consumer_is_live_beside_stored_events_of_others,
    a_version_of_stored_events_waits_for_a_relay_of_the_outbox,
    a_version_of_a_consumer_is_paused_and_goes_on,
    a_version_that_a_consumer_serves_is_neither_retired_nor_forgotten,
    versions_of_this_process_are_not_retired,
    what_is_kept_of_a_version_is_forgotten,
);

/// The parcels of another service: its build reads every stored event, and takes none.
#[projection(name = "parcels", version = 1, events = "parcel.*")]
pub struct Parcels;

impl Parcels {
    async fn project(
        &self,
        events: Batch<Envelope>,
        tx: &OutboxTransaction,
    ) -> Result<(), HandleError> {
        let update = format!("UPDATE credit SET cents = cents + {}", events.len());
        tx.execute_unprepared(&update).await?;
        Ok(())
    }
}

/// Two versions of a projection that writes nothing.
#[projection(name = "ranks", version = 2)]
pub struct Ranks;

#[projection(name = "ranks", version = 3)]
pub struct MoreRanks;

impl Ranks {
    async fn project(&self, _: Batch<Opened>, _: &OutboxTransaction) -> Result<(), HandleError> {
        Ok(())
    }
}

impl MoreRanks {
    async fn project(&self, _: Batch<Opened>, _: &OutboxTransaction) -> Result<(), HandleError> {
        Ok(())
    }
}

fn parcels() -> ProjectionKey {
    ProjectionKey::new("parcels", 1)
}

async fn consumer(database: &TestDatabase, handlers: Handlers) -> (ConsumerHandle, MemorySource) {
    let db = OutboxConnection::new(database.connect(5).await);
    let handlers = handlers.build(&db).unwrap();
    let source = MemorySource::default();
    let consumer = Consumer::builder(Inbox::new(database.connect(5).await), handlers)
        .source("parcels", source.clone())
        .start()
        .await
        .unwrap();
    (consumer, source)
}

fn parcel(number: i64) -> Envelope {
    let mut event = Envelope::new("parcel.sent", 1, Utc::now(), "{}");
    event.aggregate_type = "parcel".into();
    event.aggregate_id = "P".to_owned();
    event.sequence = Some(number);
    event
}

async fn a_version_of_a_consumer_is_live_beside_stored_events_of_others(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    scene.credit("A", [1, 2, 3]).await;
    let handlers = Handlers::new(()).projection(Parcels);
    let (consumer, source) = consumer(database, handlers).await;
    source.send(parcel(1));
    let state = scene.until_live(&parcels()).await;
    assert_eq!(state.build.read, 4, "events that it does not take");
    scene.until_number("SELECT cents FROM credit", 1).await;
    consumer.stop().await.unwrap();
}

async fn a_version_of_stored_events_waits_for_a_relay_of_the_outbox(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let (consumer, _source) = consumer(database, scene.first()).await;
    // Nothing is stored, so that its first page is the last one.
    let read = "SELECT count(*) FROM bento_projection WHERE place IS NOT NULL";
    scene.until_number(read, 1).await;
    let state = scene.until(&v1(), |_| true).await;
    assert_eq!(state.status, ProjectionStatus::Building);
    let relay = scene.relay(scene.first()).await;
    scene.until_live(&v1()).await;
    scene.credit("A", [1]).await;
    scene.until_equal("balance").await;
    relay.stop().await.unwrap();
    consumer.stop().await.unwrap();
}

async fn a_version_of_a_consumer_is_paused_and_goes_on(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let handlers = Handlers::new(()).projection(Parcels);
    let (consumer, source) = consumer(database, handlers).await;
    let key = parcels();
    let state = scene.until_live(&key).await;
    assert_eq!(state.served_by.len(), 1, "the relay of the inbox");
    let projections = scene.projections().await;
    assert!(projections.pause(&key, "a migration", None).await.unwrap());
    source.send(parcel(1));
    let state = scene.until(&key, |state| state.held > 0).await;
    assert_eq!(state.pause.unwrap().reason, "a migration");
    assert_eq!(database.number("SELECT cents FROM credit").await, 0);
    assert!(projections.resume(&key).await.unwrap());
    scene.until_number("SELECT cents FROM credit", 1).await;
    let stop = "UPDATE bento_projection SET stopped_at = created_at, reason = 'a test'";
    database.db.execute_unprepared(stop).await.unwrap();
    source.send(parcel(2));
    scene.until(&key, |state| state.held > 0).await;
    projections.retry(&key).await.unwrap();
    scene.until_number("SELECT cents FROM credit", 2).await;
    consumer.stop().await.unwrap();
}

async fn a_version_that_a_consumer_serves_is_neither_retired_nor_forgotten(
    database: &TestDatabase,
) {
    let scene = Scene::on(database).await;
    let handlers = Handlers::new(()).projection(Parcels);
    let (consumer, _source) = consumer(database, handlers).await;
    let key = parcels();
    scene.until_live(&key).await;
    let replace = "UPDATE bento_projection SET status = 'replaced'";
    database.db.execute_unprepared(replace).await.unwrap();
    let projections = scene.projections().await;
    assert!(!projections.retire_unserved(&key).await.unwrap());
    let refused = projections.forget(&key).await.unwrap_err();
    assert!(
        matches!(refused, ProjectionError::Status { .. }),
        "{refused}"
    );
    let routes = "SELECT count(*) FROM bento_inbox_handler";
    assert_eq!(database.number(routes).await, 1);
    consumer.stop().await.unwrap();
    assert!(projections.retire_unserved(&key).await.unwrap());
    assert_eq!(database.number(routes).await, 0, "nothing is held for it");
    let state = scene.until(&key, |_| true).await;
    assert_eq!(state.status, ProjectionStatus::Retired);
    projections.forget(&key).await.unwrap();
    assert!(projections.list().await.unwrap().is_empty());
}

/// Its relay has not told yet that it lives.
async fn versions_of_this_process_are_not_retired(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let handlers = Handlers::new(()).projection(Ranks).projection(MoreRanks);
    let dispatcher = scene.dispatcher(handlers).await;
    let store = scene.store().await;
    store.open().await.unwrap();
    let mut routes = dispatcher.handlers();
    let older = HandlerRoute::new("ranks@1", ["ledger.opened".to_owned()]);
    routes.push(older.from(StartFrom::Beginning));
    store.record_handlers(&routes).await.unwrap();
    for (version, status) in [(1, "replaced"), (2, "replaced"), (3, "live")] {
        let insert = format!(
            "INSERT INTO bento_projection (name, version, status, created_at) VALUES ('ranks', \
             {version}, '{status}', CURRENT_TIMESTAMP)"
        );
        database.db.execute_unprepared(&insert).await.unwrap();
    }
    let (lease, call) = (Duration::from_secs(10), Duration::from_secs(30));
    dispatcher.prepare(&RelayTerms::new(lease, call)).unwrap();
    let is_retired =
        |state: &bento_seaorm::ProjectionState| state.status == ProjectionStatus::Retired;
    scene
        .until(&ProjectionKey::new("ranks", 1), is_retired)
        .await;
    let own = scene.until(&ProjectionKey::new("ranks", 2), |_| true).await;
    assert_eq!(own.status, ProjectionStatus::Replaced);
    let routes = "SELECT name FROM bento_handler ORDER BY name";
    assert_eq!(scene.texts(routes).await, ["ranks@2", "ranks@3"]);
}

/// More rows of each table than one transaction deletes.
async fn what_is_kept_of_a_version_is_forgotten(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let relay = scene.relay(scene.first()).await;
    scene.until_live(&v1()).await;
    relay.stop().await.unwrap();
    let checkpoints = (0..2_500).map(|nth| Checkpoint {
        aggregate_type: "ledger".to_owned(),
        aggregate_id: format!("L-{nth}"),
        sequence: 1,
    });
    let tx = scene.db.begin().await.unwrap();
    let written = tx.write_checkpoints(&v1(), checkpoints.collect()).await;
    written.unwrap();
    tx.commit().await.unwrap();
    scene.projections().await.forget(&v1()).await.unwrap();
    for table in [
        "bento_projection",
        "bento_projection_checkpoint",
        "bento_handler",
    ] {
        let rows = format!("SELECT count(*) FROM {table}");
        assert_eq!(database.number(&rows).await, 0, "{table}");
    }
    let store = OutboxStore::new(database.db.clone());
    assert!(store.open().await.is_ok());
}
