//! A version that is live follows the events that relays bring.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bento_core::Envelope;
use bento_handlers::{Batch, HandleError, Handlers, projection};
use bento_relay::publish::FailureClass;
use bento_seaorm::{OutboxConnection, OutboxTransaction, ProjectionKey, ProjectionStatus};
use sea_orm::ConnectionTrait;

use crate::scene::{Credits, LARGE, Scene, deliver, v1};
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    a_read_model_follows_the_events,
    an_event_that_comes_again_changes_nothing,
    an_event_that_a_relay_lost_is_read_from_the_store,
    a_projection_of_some_events_sees_each_of_them,
    many_events_that_it_does_not_take_hide_none_that_it_does,
    many_gaps_are_read_by_few_statements,
    events_that_are_not_stored_are_projected_while_it_is_built,
    what_a_live_version_raises_is_in_the_outbox,
    events_without_a_sequence_are_refused,
);

async fn a_read_model_follows_the_events(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let relay = scene.relay(scene.first()).await;
    for round in 0..10 {
        for id in ["A", "B", "C"] {
            scene.credit(id, [round, 5]).await;
        }
    }
    scene.until_live(&v1()).await;
    scene.until_equal("balance_v1").await;
    assert_eq!(scene.balances("balance").await, scene.by_hand().await);
    assert_eq!(scene.db.live_version("balances").await.unwrap(), Some(1));
    // The build may have read what the relay has still to bring.
    scene
        .until_number("SELECT count(*) FROM bento_outbox", 0)
        .await;
    relay.stop().await.unwrap();
}

/// A live version 1, with the events of two ledgers in the outbox.
pub async fn live(scene: &Scene<'_>) -> bento_handlers::Dispatcher {
    let relay = scene.relay(scene.first()).await;
    scene.until_live(&v1()).await;
    relay.stop().await.unwrap();
    scene.dispatcher(scene.first()).await
}

async fn an_event_that_comes_again_changes_nothing(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let dispatcher = live(&scene).await;
    scene.credit("A", [1, 2, 3]).await;
    scene.credit("B", [4]).await;
    let deliveries = scene.deliveries(&v1()).await;
    for from in [0, 2, 0, 5] {
        for answer in deliver(&dispatcher, &deliveries[from..]).await {
            answer.unwrap();
        }
        assert_eq!(scene.balances("balance_v1").await, scene.by_hand().await);
    }
}

async fn an_event_that_a_relay_lost_is_read_from_the_store(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let dispatcher = live(&scene).await;
    scene.credit("A", [1, 2, 3, 4]).await;
    scene.credit("B", [5, 6]).await;
    let mut deliveries = scene.deliveries(&v1()).await;
    // Of A the third is lost, and of B the first two.
    deliveries.remove(5);
    deliveries.remove(5);
    deliveries.remove(2);
    for answer in deliver(&dispatcher, &deliveries).await {
        answer.unwrap();
    }
    assert_eq!(scene.balances("balance_v1").await, scene.by_hand().await);
}

async fn a_projection_of_some_events_sees_each_of_them(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    scene.credit("A", [1, 2]).await;
    let handlers = Handlers::new(()).projection(Credits);
    let relay = scene.relay_of(scene.dispatcher(handlers).await).await;
    let key = ProjectionKey::new("credits", 1);
    let build = scene.until_live(&key).await.build;
    assert_eq!((build.read, build.total), (2, 2), "those of its type");
    scene.credit("B", [3]).await;
    scene.credit("A", [4]).await;
    let sum = async || database.number("SELECT cents FROM credit").await;
    while sum().await < 10 {
        tokio::task::yield_now().await;
    }
    relay.stop().await.unwrap();
    assert_eq!(sum().await, 10);
}

async fn many_events_that_it_does_not_take_hide_none_that_it_does(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let relay = scene.relay_of(scene.dispatcher(credits()).await).await;
    let key = ProjectionKey::new("credits", 1);
    scene.until_live(&key).await;
    relay.stop().await.unwrap();
    let dispatcher = scene.dispatcher(credits()).await;
    // A long history without a credit, as far as this test is concerned, and then one that is lost.
    scene.credit("A", (1..=1_100).map(|_| 1)).await;
    scene.credit("A", [100]).await;
    scene.credit("A", [1_000]).await;
    let other = "UPDATE bento_event SET event_type = 'ledger.opened' WHERE sequence <= 1100";
    database.db.execute_unprepared(other).await.unwrap();
    let deliveries = scene.deliveries(&key).await;
    let last = &deliveries[deliveries.len() - 1..];
    deliver(&dispatcher, last).await.remove(0).unwrap();
    let cents = database.number("SELECT cents FROM credit").await;
    assert_eq!(cents, 1 + 100 + 1_000);
}

/// The same by a pattern, which the database does not know.
#[projection(name = "credits_by_pattern", version = 1, events = "ledger.cred*")]
pub struct CreditsByPattern;

impl CreditsByPattern {
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

async fn many_gaps_are_read_by_few_statements(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let both = || credits().projection(CreditsByPattern);
    let relay = scene.relay_of(scene.dispatcher(both()).await).await;
    let keys = ["credits", "credits_by_pattern"].map(|name| ProjectionKey::new(name, 1));
    for key in &keys {
        scene.until_live(key).await;
    }
    relay.stop().await.unwrap();
    // Each event has a gap before it, and the first gap holds more than is read at once.
    const LEDGERS: usize = 150;
    scene.credit("A", (1..=1_100).map(|_| 1)).await;
    let other = "UPDATE bento_event SET event_type = 'ledger.opened'";
    database.db.execute_unprepared(other).await.unwrap();
    for ledger in 0..LEDGERS {
        scene.credit(&format!("L{ledger:03}"), [1]).await;
    }
    for (key, most) in keys.iter().zip([1, 2]) {
        let read = Arc::new(AtomicUsize::new(0));
        let mut db = database.connect(5).await;
        let count = Arc::clone(&read);
        db.set_metric_callback(move |info| {
            if info.statement.sql.contains("ORDER BY aggregate_type") {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        let dispatcher = both().build(&OutboxConnection::new(db)).unwrap();
        let mut deliveries = scene.deliveries(key).await;
        deliveries.retain(|delivery| &*delivery.envelope.event_type == "ledger.credited");
        let deliveries = deliveries.split_off(1_099);
        for answer in deliver(&dispatcher, &deliveries).await {
            answer.unwrap();
        }
        let statements = read.load(Ordering::SeqCst);
        assert_eq!(statements, most, "gaps of {} events", deliveries.len());
    }
    let cents = database.number("SELECT cents FROM credit").await;
    assert_eq!(cents, 2 * (1 + LEDGERS as i64));
}

fn credits() -> Handlers {
    Handlers::new(()).projection(Credits)
}

async fn events_that_are_not_stored_are_projected_while_it_is_built(database: &TestDatabase) {
    use bento_handlers::ProjectionSettings;
    let scene = Scene::on(database).await;
    let settings = ProjectionSettings::default().manual();
    let handlers = scene.first().configure_projection("balances", settings);
    let dispatcher = scene.dispatcher(handlers).await;
    scene.credit("A", [1, 2]).await;
    scene.credit("B", [3]).await;
    // Those of B are of another service, or of an aggregate that is a row.
    let foreign = "DELETE FROM bento_event WHERE aggregate_id = 'B'";
    database.db.execute_unprepared(foreign).await.unwrap();
    let deliveries = scene.deliveries(&v1()).await;
    let first = deliver(&dispatcher, &deliveries).await.remove(0);
    assert_eq!(
        first.unwrap_err().class(),
        FailureClass::NotTried,
        "it is recorded now"
    );
    for answer in deliver(&dispatcher, &deliveries).await {
        answer.unwrap();
    }
    let state = scene.until(&v1(), |_| true).await;
    assert_eq!(state.status, ProjectionStatus::Waiting);
    let balances = scene.balances("balance_v1").await;
    assert_eq!(balances, [("B".to_owned(), 3, 2)], "the build brings A");
}

async fn what_a_live_version_raises_is_in_the_outbox(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let dispatcher = live(&scene).await;
    scene.credit("A", [LARGE]).await;
    let deliveries = scene.deliveries(&v1()).await;
    for answer in deliver(&dispatcher, &deliveries).await {
        answer.unwrap();
    }
    let raised = database.schemas().await;
    assert_eq!(raised.last().unwrap(), "balance.large");
    assert_eq!(
        database
            .number("SELECT count(*) FROM bento_projection_effect")
            .await,
        0
    );
}

async fn events_without_a_sequence_are_refused(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let dispatcher = live(&scene).await;
    scene.credit("A", [1]).await;
    let update = "UPDATE bento_outbox SET sequence = NULL";
    database.db.execute_unprepared(update).await.unwrap();
    let deliveries = scene.deliveries(&v1()).await;
    let answers = deliver(&dispatcher, &deliveries).await;
    let error = answers[0].as_ref().unwrap_err();
    assert_eq!(error.class(), FailureClass::Unavailable, "it waits");
    assert!(error.chain().contains("has no sequence"), "{error}");
    let state = scene.until(&v1(), |state| state.stop.is_some()).await;
    assert_eq!(state.status, ProjectionStatus::Live);
    let stop = state.stop.unwrap();
    assert_eq!(stop.event_id, Some(deliveries[0].envelope.event_id));
    assert!(
        stop.reason.contains("`#[aggregate(version)]`"),
        "{}",
        stop.reason
    );
}
