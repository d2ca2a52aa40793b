//! Each event once: the effect of a handler and its record commit together, on every back end.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

#[path = "../../bento-seaorm/tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bento_core::{Envelope, domain_event};
use bento_handlers::{
    Batch, Dispatcher, HandleError, Handlers, IdempotencyKey, State, event_handler,
};
use bento_relay::publish::{Delivery, Destination, FailureClass, PublishError, Publisher};
use bento_seaorm::{OutboxConnection, OutboxTransaction};
use futures_util::future::join_all;
use sea_orm::ConnectionTrait;
use tokio::sync::Notify;

use crate::support::{TestDatabase, on_every_back_end};

#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Clone, Debug)]
pub struct OrderConfirmed {
    pub order_id: i64,
    /// The way in which the handler behaves.
    pub mood: String,
}

#[domain_event(schema = "stock.reserved", version = 1)]
#[derive(Clone, Debug)]
pub struct StockReserved {
    pub order_id: i64,
}

/// The number of calls, and a signal for those that wait.
#[derive(Clone, Debug, Default)]
struct Calls {
    count: Arc<AtomicU32>,
    keys: Arc<std::sync::Mutex<Vec<String>>>,
    begun: Arc<Notify>,
}

async fn count_up(tx: &OutboxTransaction, order: i64) -> Result<(), HandleError> {
    let sql = format!("UPDATE counters SET n = n + 1 WHERE id = {order}");
    tx.execute_unprepared(&sql).await?;
    Ok(())
}

#[event_handler(name = "stock.reserve")]
async fn reserve(
    event: OrderConfirmed,
    tx: &OutboxTransaction,
    State(calls): State<Calls>,
) -> Result<(), HandleError> {
    let call = calls.count.fetch_add(1, Ordering::SeqCst);
    count_up(tx, event.order_id).await?;
    match &*event.mood {
        "fails once" if call == 0 => Err(HandleError::transient("not today")),
        "hopeless" => Err(HandleError::permanent("no such item")),
        "away" => Err(HandleError::unavailable("the warehouse is away")),
        "skips" => Err(HandleError::skip("not one of ours")),
        "panics once" if call == 0 => panic!("an index out of bounds"),
        "swallows" => {
            let _ = tx
                .execute_unprepared("INSERT INTO nowhere VALUES (1)")
                .await;
            Ok(())
        }
        "commits" => Ok(tx.execute_unprepared("COMMIT").await.map(|_| ())?),
        "hangs once" if call == 0 => {
            calls.begun.notify_one();
            std::future::pending().await
        }
        _ => Ok(()),
    }
}

#[event_handler(name = "stock.announce")]
async fn announce(event: OrderConfirmed) -> Result<StockReserved, HandleError> {
    let order_id = event.order_id;
    Ok(StockReserved { order_id })
}

#[event_handler(name = "mail.send")]
async fn mail(
    event: OrderConfirmed,
    key: IdempotencyKey,
    State(calls): State<Calls>,
) -> Result<(), HandleError> {
    let call = calls.count.fetch_add(1, Ordering::SeqCst);
    calls.keys.lock().unwrap().push(key.to_string());
    match &*event.mood {
        "fails once" if call == 0 => Err(HandleError::transient("the server is busy")),
        _ => Ok(()),
    }
}

#[event_handler(name = "stock.count")]
async fn count(
    events: Batch<OrderConfirmed>,
    tx: &OutboxTransaction,
    State(calls): State<Calls>,
) -> Result<(), HandleError> {
    calls.count.fetch_add(1, Ordering::SeqCst);
    for event in events.iter() {
        count_up(tx, event.order_id).await?;
        if event.mood == "hopeless" {
            return Err(HandleError::permanent("no such item"));
        }
    }
    Ok(())
}

/// A dispatcher on a database, and a table of counters.
struct Scene<'a> {
    database: &'a TestDatabase,
    dispatcher: Dispatcher,
    calls: Calls,
}

impl<'a> Scene<'a> {
    async fn on(database: &'a TestDatabase) -> Self {
        let create = "CREATE TABLE counters (id BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL)";
        database.db.execute_unprepared(create).await.unwrap();
        let insert = "INSERT INTO counters VALUES (1, 0)";
        database.db.execute_unprepared(insert).await.unwrap();
        let calls = Calls::default();
        let dispatcher = dispatcher(database, &calls).await;
        Self {
            database,
            dispatcher,
            calls,
        }
    }

    async fn call(&self, handler: &str, event: &Arc<Envelope>) -> Result<(), PublishError> {
        let delivery = Delivery::new(Arc::clone(event), Destination::new(handler));
        self.dispatcher.publish(&[delivery]).await.remove(0)
    }

    async fn counter(&self) -> i64 {
        self.database.number("SELECT n FROM counters").await
    }

    async fn records(&self, outcome: &str) -> i64 {
        let sql = "SELECT count(*) FROM bento_handled_event WHERE outcome = ";
        self.database.number(&format!("{sql}'{outcome}'")).await
    }

    fn calls(&self) -> u32 {
        self.calls.count.load(Ordering::SeqCst)
    }
}

async fn dispatcher(database: &TestDatabase, calls: &Calls) -> Dispatcher {
    let pool = OutboxConnection::new(database.connect(5).await);
    Handlers::registered()
        .state(calls.clone())
        .build(&pool)
        .unwrap()
}

fn confirmed(mood: &str) -> Arc<Envelope> {
    let payload = format!(r#"{{"order_id":1,"mood":"{mood}"}}"#);
    let mut event = Envelope::new("order.confirmed", 1, chrono::Utc::now(), payload);
    event.aggregate_type = "order".into();
    event.aggregate_id = "1".to_owned();
    event.tenant_id = Some("acme".to_owned());
    Arc::new(event)
}

async fn an_event_that_comes_again_is_not_handled_again(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let event = confirmed("fine");
    for _ in 0..3 {
        scene.call("stock.reserve", &event).await.unwrap();
    }
    assert_eq!((scene.counter().await, scene.calls()), (1, 1));
    assert_eq!(scene.records("handled").await, 1);
}

async fn of_many_that_handle_an_event_together_one_does(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let other = dispatcher(database, &scene.calls).await;
    for round in 1..=10 {
        let event = confirmed("fine");
        let delivery = Delivery::new(event, Destination::new("stock.reserve"));
        let calls = (0..8).map(|number| {
            let dispatcher = if number % 2 == 0 {
                &other
            } else {
                &scene.dispatcher
            };
            // Another transaction in the way does not count; the relay sends the event again.
            let delivery = delivery.clone();
            async move {
                loop {
                    match dispatcher
                        .publish(std::slice::from_ref(&delivery))
                        .await
                        .remove(0)
                    {
                        Err(error) if error.class() == FailureClass::NotTried => {}
                        answer => break answer,
                    }
                }
            }
        });
        for answer in join_all(calls).await {
            answer.unwrap();
        }
        assert_eq!(scene.counter().await, round);
    }
    assert_eq!(scene.records("handled").await, 10);
}

async fn a_failure_leaves_neither_effect_nor_record(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    for mood in ["fails once", "panics once"] {
        scene.calls.count.store(0, Ordering::SeqCst);
        let before = scene.counter().await;
        let event = confirmed(mood);
        let error = scene.call("stock.reserve", &event).await.unwrap_err();
        assert_eq!(error.class(), FailureClass::Transient);
        assert_eq!(scene.counter().await, before, "after {error}");
        scene.call("stock.reserve", &event).await.unwrap();
        assert_eq!(scene.counter().await, before + 1);
    }
    assert_eq!(scene.records("handled").await, 2);
}

async fn each_class_of_error_reaches_the_relay(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let answer = async |mood| {
        let error = scene
            .call("stock.reserve", &confirmed(mood))
            .await
            .unwrap_err();
        (error.class(), error.chain())
    };
    let hopeless = (FailureClass::Permanent, "no such item".to_owned());
    assert_eq!(answer("hopeless").await, hopeless);
    let away = (
        FailureClass::Unavailable,
        "the warehouse is away".to_owned(),
    );
    assert_eq!(answer("away").await, away);
    assert_eq!(
        (scene.counter().await, scene.records("handled").await),
        (0, 0)
    );
}

async fn a_skipped_event_is_recorded_without_its_effect(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let event = confirmed("skips");
    scene.call("stock.reserve", &event).await.unwrap();
    scene.call("stock.reserve", &event).await.unwrap();
    assert_eq!((scene.counter().await, scene.calls()), (0, 1));
    assert_eq!(
        (
            scene.records("skipped").await,
            scene.records("handled").await
        ),
        (1, 0)
    );
}

async fn a_failed_statement_that_the_handler_swallows_is_no_success(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let answer = scene.call("stock.reserve", &confirmed("swallows")).await;
    // The events of the transaction are doubtful, or it is aborted; without events only the
    // database decides, and MySQL and SQLite go on.
    if database.is(sea_orm::DbBackend::Postgres) {
        assert_eq!(answer.unwrap_err().class(), FailureClass::Transient);
        assert_eq!(
            (scene.counter().await, scene.records("handled").await),
            (0, 0)
        );
    }
}

async fn a_commit_as_text_is_refused(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let error = scene
        .call("stock.reserve", &confirmed("commits"))
        .await
        .unwrap_err();
    assert!(
        error.chain().contains("`COMMIT` cannot be sent as text"),
        "{}",
        error.chain()
    );
    assert_eq!(
        (scene.counter().await, scene.records("handled").await),
        (0, 0)
    );
}

async fn a_call_that_is_dropped_can_be_made_again(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let event = confirmed("hangs once");
    let call = scene.call("stock.reserve", &event);
    tokio::select! {
        answer = call => panic!("{answer:?}"),
        () = scene.calls.begun.notified() => {}
    }
    let again = async {
        while let Err(error) = scene.call("stock.reserve", &event).await {
            assert_eq!(error.class(), FailureClass::NotTried, "{}", error.chain());
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again)
        .await
        .unwrap();
    assert_eq!(scene.counter().await, 1);
}

async fn a_wait_for_another_process_is_no_attempt(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let event = confirmed("hangs once");
    let first = scene.call("stock.reserve", &event);
    let second = async {
        scene.calls.begun.notified().await;
        scene.call("stock.reserve", &event).await.unwrap_err()
    };
    tokio::select! {
        answer = first => panic!("{answer:?}"),
        error = second => assert_eq!(error.class(), FailureClass::NotTried, "{}", error.chain()),
    }
}

async fn returned_events_are_raised_once_in_the_metadata_of_the_event(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let event = confirmed("fine");
    scene.call("stock.announce", &event).await.unwrap();
    scene.call("stock.announce", &event).await.unwrap();
    let [raised] = &database.outbox().await[..] else {
        panic!("one event is raised");
    };
    let id = event.event_id.to_string();
    assert_eq!(
        (&*raised.event_type, raised.tenant_id.as_deref()),
        ("stock.reserved", Some("acme"))
    );
    let headers = format!(r#"{{"correlation_id":"{id}","causation_id":"{id}","bento-hops":"1"}}"#);
    assert_eq!(raised.headers, headers);
}

async fn handlers_that_raise_each_others_events_are_stopped(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let mut event = Arc::unwrap_or_clone(confirmed("fine"));
    event.headers = r#"{"bento-hops":"32"}"#.into();
    let error = scene
        .call("stock.announce", &Arc::new(event))
        .await
        .unwrap_err();
    assert_eq!(error.class(), FailureClass::Permanent);
    assert!(
        error.chain().starts_with("causation_loop: "),
        "{}",
        error.chain()
    );
}

async fn a_key_is_the_same_for_each_attempt(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let event = confirmed("fails once");
    scene.call("mail.send", &event).await.unwrap_err();
    scene.call("mail.send", &event).await.unwrap();
    scene.call("mail.send", &event).await.unwrap();
    let keys = scene.calls.keys.lock().unwrap().clone();
    assert_eq!(keys.len(), 2, "the third time the event is known");
    assert_eq!(keys[0], keys[1]);
    assert_eq!(
        keys[0],
        IdempotencyKey::new("mail.send", event.event_id, 0).to_string()
    );
}

async fn a_batch_that_fails_is_divided_until_the_bad_event_is_alone(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let event = |aggregate: &str, mood| {
        let mut event = Arc::unwrap_or_clone(confirmed(mood));
        event.aggregate_id = aggregate.to_owned();
        Delivery::new(Arc::new(event), Destination::new("stock.count"))
    };
    let batch = [
        event("a", "fine"),
        event("b", "fine"),
        event("c", "hopeless"),
        event("a", "fine"),
        event("c", "fine"),
        event("b", "fine"),
    ];
    let answers = scene.dispatcher.publish(&batch).await;
    let classes: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().err().map(PublishError::class))
        .collect();
    let (dead, behind) = (FailureClass::Permanent, FailureClass::NotTried);
    assert_eq!(classes, [None, None, Some(dead), None, Some(behind), None]);
    assert_eq!(
        (scene.counter().await, scene.records("handled").await),
        (4, 4)
    );
    let again: Vec<_> = batch
        .iter()
        .filter(|delivery| delivery.envelope.aggregate_id != "c")
        .cloned()
        .collect();
    let calls = scene.calls();
    assert!(
        scene
            .dispatcher
            .publish(&again)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert_eq!(
        (scene.counter().await, scene.calls()),
        (4, calls),
        "each is known"
    );
}

async fn records_are_removed_when_their_events_are_gone_for_long(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let db = OutboxConnection::new(database.connect(2).await);
    db.transaction_async(async |_| {
        bento_core::raise(StockReserved { order_id: 1 }).unwrap();
        Ok::<_, sea_orm::DbErr>(())
    })
    .await
    .unwrap();
    let kept = bento_core::EventId::from(database.outbox().await.remove(0).event_id);
    for _ in 0..5 {
        let event = confirmed("fine");
        scene.call("stock.reserve", &event).await.unwrap();
    }
    db.record_handled("stock.reserve", kept, 0).await.unwrap();
    let prune = async |age, rows| db.prune_handled(age, rows).await.unwrap();
    let hour = Duration::from_secs(3600);
    assert_eq!(prune(hour, 100).await, 0, "they are young");
    assert_eq!(
        prune(Duration::ZERO, 3).await,
        3,
        "as many as are asked for"
    );
    assert_eq!(prune(Duration::ZERO, 100).await, 2);
    let record = db.handled_record("stock.reserve", kept).await.unwrap();
    assert!(record.is_done);
}

async fn a_newer_version_waits_and_a_malformed_event_does_not(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let mut newer = Arc::unwrap_or_clone(confirmed("fine"));
    (newer.schema_version, newer.aggregate_id) = (2, "2".to_owned());
    let newer = Arc::new(newer);
    let error = scene.call("stock.reserve", &newer).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::NotTried);
    // In a batch it waits alone.
    let events = [confirmed("fine"), newer, confirmed("fine")];
    let batch = events.map(|event| Delivery::new(event, Destination::new("stock.count")));
    let answers = scene.dispatcher.publish(&batch).await.into_iter();
    let waits = answers.map(|answer| answer.is_err_and(|error| error.is_of_newer_version()));
    assert_eq!(waits.collect::<Vec<_>>(), [false, true, false]);
    let mut malformed = Arc::unwrap_or_clone(confirmed("fine"));
    malformed.payload = r#"{"order_id":"one"}"#.into();
    let error = scene
        .call("stock.reserve", &Arc::new(malformed))
        .await
        .unwrap_err();
    assert_eq!(error.class(), FailureClass::Permanent);
    assert!(error.chain().contains("order_id"), "{}", error.chain());
}

on_every_back_end! {
    an_event_that_comes_again_is_not_handled_again,
    of_many_that_handle_an_event_together_one_does,
    a_failure_leaves_neither_effect_nor_record,
    each_class_of_error_reaches_the_relay,
    a_skipped_event_is_recorded_without_its_effect,
    a_failed_statement_that_the_handler_swallows_is_no_success,
    a_commit_as_text_is_refused,
    a_call_that_is_dropped_can_be_made_again,
    a_wait_for_another_process_is_no_attempt,
    returned_events_are_raised_once_in_the_metadata_of_the_event,
    handlers_that_raise_each_others_events_are_stopped,
    a_key_is_the_same_for_each_attempt,
    a_batch_that_fails_is_divided_until_the_bad_event_is_alone,
    records_are_removed_when_their_events_are_gone_for_long,
    a_newer_version_waits_and_a_malformed_event_does_not,
}
