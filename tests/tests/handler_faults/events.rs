//! Events that handlers raise in a circle, or that they cannot read.

use bento_core::domain_event;
use bento_handlers::{HandleError, Handlers, event_handler};
use bento_relay::Relay;
use bento_relay::publish::Publishers;
use bento_seaorm::OutboxTransaction;
use sea_orm::{ConnectionTrait as _, DbErr};

use crate::scene::{OrderPlaced, Scene};
use crate::support::TestDatabase;

#[domain_event(schema = "ball.played", version = 1)]
#[derive(Debug)]
pub struct BallPlayed {}

#[domain_event(schema = "ball.returned", version = 1)]
#[derive(Debug)]
pub struct BallReturned {}

#[event_handler(name = "ball.return", from = beginning)]
async fn give_back(_: BallPlayed) -> Result<BallReturned, HandleError> {
    Ok(BallReturned {})
}

#[event_handler(name = "ball.play", from = beginning)]
async fn play(_: BallReturned) -> Result<BallPlayed, HandleError> {
    Ok(BallPlayed {})
}

pub async fn handlers_that_raise_each_others_events_come_to_an_end(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let handlers = Handlers::new(())
        .add(give_back::handler())
        .add(play::handler());
    let dispatcher = handlers.build(&scene.handlers_db().await).unwrap();
    let relay = Relay::builder(
        scene.store().await,
        Publishers::new().with_handlers(dispatcher),
    );
    let relay = relay.wake(&scene.wake).start().unwrap();
    let raise = scene.outbox.transaction_async(async |_| {
        bento_core::raise(BallPlayed {}).unwrap();
        Ok::<_, DbErr>(())
    });
    raise.await.unwrap();
    scene.counted([0, 0, 1]).await;
    relay.stop().await.unwrap();
    let handled = "SELECT count(*) FROM bento_handled_event";
    assert_eq!(scene.number(handled).await, 32);
    let dead = scene.dead().await.remove(0);
    assert_eq!((&*dead.cause, dead.attempts), ("permanent", 1));
    assert!(dead.error.starts_with("causation_loop: "), "{}", dead.error);
}

#[event_handler(name = "orders.read", from = beginning)]
async fn read(event: OrderPlaced, tx: &OutboxTransaction) -> Result<(), HandleError> {
    let insert = format!(
        "INSERT INTO effect VALUES ('orders.read', {})",
        event.number
    );
    tx.execute_unprepared(&insert).await?;
    Ok(())
}

pub async fn a_malformed_event_is_a_dead_letter_and_a_newer_one_waits(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    for number in 0..9 {
        scene.place(number % 3, number, "fine").await;
    }
    let spoil = async |customer: i64, set: &str| {
        let first = format!(
            "SELECT position FROM (SELECT min(position) AS position FROM bento_outbox WHERE \
             aggregate_id = '{customer}') AS first"
        );
        let sql = format!("UPDATE bento_outbox SET {set} WHERE position = ({first})");
        database.db.execute_unprepared(&sql).await.unwrap();
    };
    spoil(0, "schema_version = 2").await;
    let payload = r#"{"number": "one"}"#;
    let payload = if database.is(sea_orm::DbBackend::Postgres) {
        format!("payload = convert_to('{payload}', 'UTF8')")
    } else {
        format!("payload = '{payload}'")
    };
    spoil(1, &payload).await;
    let dispatcher = Handlers::new(()).add(read::handler());
    let dispatcher = dispatcher.build(&scene.handlers_db().await).unwrap();
    let relay = Relay::builder(
        scene.store().await,
        Publishers::new().with_handlers(dispatcher),
    );
    let relay = relay.wake(&scene.wake).start().unwrap();
    // The events of the third customer are handled; behind the others two events wait each.
    scene.counted([0, 5, 1]).await;
    assert_eq!(scene.effects("orders.read").await, 3);
    let dead = scene.dead().await.remove(0);
    assert_eq!((&*dead.cause, dead.attempts), ("permanent", 1));
    assert!(dead.error.contains("number"), "{}", dead.error);
    let tried = "SELECT count(*) FROM bento_outbox_held WHERE attempts > 0";
    assert_eq!(
        scene.number(tried).await,
        0,
        "a newer version is no attempt"
    );
    // A release that knows the version.
    let known = "UPDATE bento_outbox_held SET schema_version = 1";
    database.db.execute_unprepared(known).await.unwrap();
    scene.counted([0, 2, 1]).await;
    assert_eq!(scene.effects("orders.read").await, 6);
    relay.stop().await.unwrap();
}
