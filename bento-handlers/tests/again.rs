//! *Handle again* and *discard*, from the operator to the effect, on every back end.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

#[path = "../../bento-seaorm/tests/support/mod.rs"]
mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bento_core::{Envelope, EventId, domain_event};
use bento_handlers::{
    Batch, Dispatcher, HandleError, Handlers, IdempotencyKey, State, event_handler,
};
use bento_relay::dead_letter::{DeadLetterQuery, Operator};
use bento_relay::handler_control::{HandledAgain, HandlerControl};
use bento_relay::publish::{Delivery, Destination, FailureClass, Publisher};
use bento_relay::{PassReport, Relay, StoreError};
use bento_seaorm::{HandledRecord, OutboxConnection, OutboxStore, OutboxTransaction};
use futures_util::future::join_all;
use sea_orm::ConnectionTrait;

use crate::support::{TestDatabase, on_every_back_end};

#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Clone, Debug)]
pub struct OrderConfirmed {
    pub order_id: i64,
    pub item: String,
}

/// The calls that the handlers have seen.
#[derive(Clone, Debug, Default)]
struct Seen {
    keys: Arc<Mutex<Vec<String>>>,
    /// False while the handlers refuse every event.
    is_good: Arc<Mutex<bool>>,
}

impl Seen {
    fn answer(&self) -> Result<(), HandleError> {
        match *self.is_good.lock().unwrap() {
            true => Ok(()),
            false => Err(HandleError::permanent("no such item")),
        }
    }
}

async fn count_up(tx: &OutboxTransaction, counter: i64) -> Result<(), HandleError> {
    let sql = format!("UPDATE counters SET n = n + 1 WHERE id = {counter}");
    tx.execute_unprepared(&sql).await?;
    Ok(())
}

#[event_handler(name = "stock.reserve", from = beginning)]
async fn reserve(
    _: OrderConfirmed,
    tx: &OutboxTransaction,
    State(seen): State<Seen>,
) -> Result<(), HandleError> {
    count_up(tx, 1).await?;
    seen.answer()
}

#[event_handler(name = "stock.count", from = beginning)]
async fn count(
    events: Batch<OrderConfirmed>,
    tx: &OutboxTransaction,
    State(seen): State<Seen>,
) -> Result<(), HandleError> {
    for _ in events.iter() {
        count_up(tx, 2).await?;
    }
    seen.answer()
}

#[event_handler(name = "mail.send", from = beginning)]
async fn mail(
    _: OrderConfirmed,
    key: IdempotencyKey,
    State(seen): State<Seen>,
) -> Result<(), HandleError> {
    seen.keys.lock().unwrap().push(key.to_string());
    seen.answer()
}

/// A service with three handlers whose published rows are kept.
struct Scene<'a> {
    database: &'a TestDatabase,
    db: OutboxConnection,
    store: OutboxStore,
    dispatcher: Dispatcher,
    seen: Seen,
}

impl<'a> Scene<'a> {
    async fn on(database: &'a TestDatabase) -> Self {
        let create = "CREATE TABLE counters (id BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL)";
        database.db.execute_unprepared(create).await.unwrap();
        let insert = "INSERT INTO counters VALUES (1, 0), (2, 0)";
        database.db.execute_unprepared(insert).await.unwrap();
        let seen = Seen::default();
        *seen.is_good.lock().unwrap() = true;
        let db = OutboxConnection::new(database.connect(5).await);
        let dispatcher = Handlers::registered()
            .state(seen.clone())
            .build(&db)
            .unwrap();
        Self {
            database,
            db,
            store: OutboxStore::new(database.connect(3).await),
            dispatcher,
            seen,
        }
    }

    /// Raises an event, and returns it.
    async fn raise(&self) -> Arc<Envelope> {
        let event = OrderConfirmed {
            order_id: 1,
            item: "tea".to_owned(),
        };
        self.db
            .transaction_async(async |_| {
                bento_core::raise(event).unwrap();
                Ok::<_, sea_orm::DbErr>(())
            })
            .await
            .unwrap();
        let row = self.database.outbox().await.remove(0);
        let payload = r#"{"order_id":1,"item":"tea"}"#;
        let mut envelope = Envelope::new("order.confirmed", 1, chrono::Utc::now(), payload);
        envelope.event_id = EventId::from(row.event_id);
        Arc::new(envelope)
    }

    async fn run(&self) -> PassReport {
        let relay = Relay::builder(self.store.clone(), self.dispatcher.clone());
        let relay = relay.retention(Duration::from_secs(3600)).workers(1);
        relay.run_until_empty().await.unwrap()
    }

    /// The counters of the transactions, one by one and in a batch, and the calls with a key.
    async fn effects(&self) -> (i64, i64, usize) {
        let one = self
            .database
            .number("SELECT n FROM counters WHERE id = 1")
            .await;
        let many = self
            .database
            .number("SELECT n FROM counters WHERE id = 2")
            .await;
        (one, many, self.seen.keys.lock().unwrap().len())
    }

    async fn call(&self, handler: &str, event: &Arc<Envelope>) -> Option<FailureClass> {
        let delivery = Delivery::new(Arc::clone(event), Destination::new(handler));
        let answer = self.dispatcher.publish(&[delivery]).await.remove(0);
        answer.err().map(|error| error.class())
    }

    async fn again(&self, handler: &str, event: EventId) -> HandledAgain {
        let alice = Operator::new(&self.store, "alice");
        alice.handle_again(handler, event).await.unwrap()
    }
}

const HANDLERS: [&str; 3] = ["stock.reserve", "stock.count", "mail.send"];

async fn an_event_is_handled_again_once_for_each_wish(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let event = scene.raise().await;
    assert_eq!(scene.run().await.tally.published, 3);
    assert_eq!(scene.effects().await, (1, 1, 1));
    for generation in 1..4 {
        for handler in HANDLERS {
            let put_back = HandledAgain::PutBack { generation };
            assert_eq!(scene.again(handler, event.event_id).await, put_back);
            let waits = HandledAgain::Waits { generation };
            assert_eq!(scene.again(handler, event.event_id).await, waits);
        }
        scene.run().await;
        let times = i64::from(generation) + 1;
        assert_eq!(
            scene.effects().await,
            (times, times, times.unsigned_abs() as usize)
        );
        // A delivery that comes once more is not handled.
        for handler in HANDLERS {
            assert_eq!(scene.call(handler, &event).await, None);
        }
        assert_eq!(scene.effects().await.0, times);
    }
    let keys = scene.seen.keys.lock().unwrap().clone();
    let expected = (0..4)
        .map(|generation| IdempotencyKey::new("mail.send", event.event_id, generation).to_string());
    assert_eq!(keys, expected.collect::<Vec<_>>());
}

async fn a_discarded_event_that_comes_again_is_not_handled(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    *scene.seen.is_good.lock().unwrap() = false;
    let event = scene.raise().await;
    assert_eq!(scene.run().await.tally.dead, 3);
    let alice = Operator::new(&scene.store, "alice");
    let letters = alice.list(&DeadLetterQuery::default()).await.unwrap();
    assert_eq!(letters.len(), 3);
    for letter in &letters {
        let id = letter.envelope.event_id;
        assert!(
            alice
                .discard(id, &letter.route, "not wanted")
                .await
                .unwrap()
        );
    }
    *scene.seen.is_good.lock().unwrap() = true;
    for handler in HANDLERS {
        assert_eq!(scene.call(handler, &event).await, None);
        let record = scene.db.handled_record(handler, event.event_id).await;
        assert!(record.unwrap().is_done);
    }
    assert_eq!(scene.effects().await, (0, 0, 1), "the key was used before");
    // The event is gone, so the operator has to bring it.
    let gone = scene.store.handle_again("mail.send", event.event_id).await;
    assert!(matches!(gone, Err(StoreError::NoEvent { .. })), "{gone:?}");
    for handler in HANDLERS {
        let put_back = alice.handle_envelope_again(handler, &event).await.unwrap();
        assert_eq!(put_back, HandledAgain::PutBack { generation: 1 });
    }
    scene.run().await;
    assert_eq!(scene.effects().await, (1, 1, 2));
}

async fn a_failure_of_an_event_that_is_handled_again_is_a_dead_letter(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let event = scene.raise().await;
    scene.run().await;
    *scene.seen.is_good.lock().unwrap() = false;
    for handler in HANDLERS {
        scene.again(handler, event.event_id).await;
    }
    assert_eq!(scene.run().await.tally.dead, 3);
    *scene.seen.is_good.lock().unwrap() = true;
    for handler in HANDLERS {
        let replayed = HandledAgain::Replayed { generation: 1 };
        assert_eq!(scene.again(handler, event.event_id).await, replayed);
    }
    scene.run().await;
    assert_eq!(scene.effects().await, (2, 2, 3));
    let keys = scene.seen.keys.lock().unwrap().clone();
    assert_ne!(keys[0], keys[1]);
    assert_eq!(keys[1], keys[2], "one wish has one key");
}

async fn of_many_calls_one_takes_the_wish(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let event = scene.raise().await;
    scene.run().await;
    for round in 2..=6 {
        scene.again("stock.reserve", event.event_id).await;
        let call = async || {
            while let Some(class) = scene.call("stock.reserve", &event).await {
                assert_eq!(class, FailureClass::NotTried);
            }
        };
        join_all((0..5).map(|_| call())).await;
        assert_eq!(scene.effects().await.0, round);
    }
}

async fn an_earlier_call_does_not_end_a_later_wish(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let event = scene.raise().await;
    scene.run().await;
    scene.again("mail.send", event.event_id).await;
    let id = event.event_id;
    // A call of the first generation that ends only now.
    assert!(!scene.db.record_handled("mail.send", id, 0).await.unwrap());
    assert!(!scene.db.record_skipped("mail.send", id, 0).await.unwrap());
    let marked = HandledRecord {
        is_done: false,
        generation: 1,
    };
    let record = scene.db.handled_record("mail.send", id).await.unwrap();
    assert_eq!(record, marked);
    assert_eq!(
        scene.db.prune_handled(Duration::ZERO, 100).await.unwrap(),
        0
    );
    scene.run().await;
    assert_eq!(scene.effects().await.2, 2);
    // Its number must not come again, so it stays.
    let pruned = scene.db.prune_handled(Duration::ZERO, 100).await.unwrap();
    assert_eq!(pruned, 2);
    let record = scene.db.handled_record("mail.send", id).await.unwrap();
    assert!(record.is_done && record.generation == 1, "{record:?}");
}

on_every_back_end! {
    an_event_is_handled_again_once_for_each_wish,
    a_discarded_event_that_comes_again_is_not_handled,
    a_failure_of_an_event_that_is_handled_again_is_a_dead_letter,
    of_many_calls_one_takes_the_wish,
    an_earlier_call_does_not_end_a_later_wish,
}
