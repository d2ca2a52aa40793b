//! A handler that gets another name while its dead letters wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bento_handlers::{HandleError, Handlers, State, event_handler};
use bento_relay::dead_letter::Operator;
use bento_relay::handler_control::HandlerControl as _;
use bento_relay::publish::Publishers;
use bento_relay::store::Leftovers;
use bento_relay::{Degradation, Relay, RelayHandle};
use bento_seaorm::OutboxTransaction;
use sea_orm::ConnectionTrait as _;

use crate::scene::{OrderPlaced, Scene};
use crate::support::TestDatabase;
use crate::support::log::Log;

/// True while orders are refused.
#[derive(Clone, Debug)]
struct Refusing(Arc<AtomicBool>);

#[event_handler(name = "orders.old", from = beginning)]
async fn old(
    event: OrderPlaced,
    tx: &OutboxTransaction,
    State(Refusing(refusing)): State<Refusing>,
) -> Result<(), HandleError> {
    if refusing.load(Ordering::SeqCst) {
        return Err(HandleError::permanent("there is too little in stock"));
    }
    let insert = format!("INSERT INTO effect VALUES ('orders.old', {})", event.number);
    tx.execute_unprepared(&insert).await?;
    Ok(())
}

#[event_handler(name = "orders.new", from = beginning)]
async fn new(event: OrderPlaced, tx: &OutboxTransaction) -> Result<(), HandleError> {
    let insert = format!("INSERT INTO effect VALUES ('orders.new', {})", event.number);
    tx.execute_unprepared(&insert).await?;
    Ok(())
}

/// Starts a release with one handler or the other.
async fn start(scene: &Scene<'_>, refusing: &Refusing, name: &str) -> RelayHandle {
    let handlers = Handlers::new(refusing.clone())
        .add(old::handler())
        .add(new::handler())
        .retain(|handler| handler.name == name);
    let dispatcher = handlers.build(&scene.handlers_db().await).unwrap();
    let publishers = Publishers::new().with_handlers(dispatcher);
    let relay = Relay::builder(scene.store().await, publishers).wake(&scene.wake);
    relay.start().unwrap()
}

pub async fn what_a_renamed_handler_has_left_waits_for_its_old_name(database: &TestDatabase) {
    let (log, _guard) = Log::start();
    let scene = Scene::on(database).await;
    let refusing = Refusing(Arc::new(AtomicBool::new(true)));
    let relay = start(&scene, &refusing, "orders.old").await;
    scene.place(1, 1, "fine").await;
    scene.place(2, 2, "fine").await;
    scene.counted([0, 0, 2]).await;
    relay.stop().await.unwrap();
    refusing.0.store(false, Ordering::SeqCst);

    // As long as the old name is recorded, it is a handler that is away.
    let relay = start(&scene, &refusing, "orders.new").await;
    let away = Degradation::HandlersAway {
        handlers: vec!["orders.old".into()],
    };
    scene.place(3, 3, "fine").await;
    scene.counted([0, 1, 2]).await;
    assert_eq!(relay.health().degraded, [away]);
    let store = scene.store().await;
    let operator = Operator::new(&store, "ada");
    let dead = scene.dead().await.remove(0);
    let replayed = operator.replay(dead.envelope.event_id, &dead.route).await;
    assert!(replayed.unwrap().replayed);
    scene.counted([0, 2, 1]).await;
    let left = store.retire_handler("orders.old").await.unwrap();
    assert_eq!(left, Some(Leftovers { held: 2, dead: 1 }));
    relay.stop().await.unwrap();

    // Once it is retired, each start says what is left of it, and a replay waits.
    let relay = start(&scene, &refusing, "orders.new").await;
    log.line(&["2 held events and 1 dead letters belong to `orders.old`"])
        .await;
    let dead = scene.dead().await.remove(0);
    let replayed = operator.replay(dead.envelope.event_id, &dead.route).await;
    assert!(replayed.unwrap().replayed);
    scene.place(4, 4, "fine").await;
    scene.counted([0, 3, 0]).await;
    assert_eq!(scene.effects("orders.new").await, 2);
    relay.stop().await.unwrap();

    // Under its old name it gets all of it, and nothing twice.
    let relay = start(&scene, &refusing, "orders.old").await;
    scene.counted([0, 0, 0]).await;
    assert_eq!(scene.effects("orders.old").await, 3);
    relay.stop().await.unwrap();
}
