//! The settings of handlers: what overrides the attribute, the filter of events, and the faults
//! that are told when the set is built.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

#[path = "../../bento-seaorm/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bento_core::{Envelope, Metadata, domain_event, raise};
use bento_handlers::telemetry::HANDLED_EVENTS;
use bento_handlers::{
    Batch, BuildError, Dispatcher, HandleError, HandlerSettings, Handlers, IdempotencyKey, State,
    event_handler,
};
use bento_relay::Relay;
use bento_relay::dead_letter::{DeadLetterQuery, DeadLetters};
use bento_relay::publish::{Answering, Delivery, Destination, Publisher};
use bento_relay::retry::{RetryPolicies, RetryPolicy};
use bento_relay::route::field;
use bento_seaorm::{OutboxConnection, OutboxStore, OutboxTransaction};
use bento_testkit::Counters;
use sea_orm::DbBackend;

use crate::support::{TestDatabase, in_database, on_every_back_end};

#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Clone, Debug)]
pub struct OrderConfirmed {
    pub total: i64,
}

/// The totals of the orders that each handler was called for.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<BTreeMap<&'static str, Vec<i64>>>>);

impl Seen {
    fn add(&self, handler: &'static str, total: i64) {
        let mut seen = self.0.lock().unwrap();
        seen.entry(handler).or_default().push(total);
    }

    /// The totals in order.
    fn by(&self, handler: &str) -> Vec<i64> {
        let mut totals = self.0.lock().unwrap().get(handler).cloned();
        totals.iter_mut().for_each(|totals| totals.sort_unstable());
        totals.unwrap_or_default()
    }
}

#[event_handler(name = "stock.reserve", from = beginning, timeout = "3s", concurrency = 2)]
async fn reserve(
    event: OrderConfirmed,
    _tx: &OutboxTransaction,
    State(seen): State<Seen>,
) -> Result<(), HandleError> {
    seen.add("stock.reserve", event.total);
    Ok(())
}

#[event_handler(name = "mail.confirm", from = beginning)]
async fn confirm(
    event: OrderConfirmed,
    _key: IdempotencyKey,
    State(seen): State<Seen>,
) -> Result<(), HandleError> {
    seen.add("mail.confirm", event.total);
    Ok(())
}

#[event_handler(name = "orders.count", from = beginning)]
async fn count(
    events: Batch<OrderConfirmed>,
    _tx: &OutboxTransaction,
    State(seen): State<Seen>,
) -> Result<(), HandleError> {
    for event in events.iter() {
        seen.add("orders.count", event.total);
    }
    if events.iter().any(|event| event.total == 0) {
        return Err(HandleError::permanent("there is nothing to count"));
    }
    if events.iter().any(|event| event.total == -1) {
        std::future::pending::<()>().await;
    }
    Ok(())
}

#[event_handler(name = "fails.once", from = beginning, retry = "once")]
async fn fail_once(_: OrderConfirmed, _: &OutboxTransaction) -> Result<(), HandleError> {
    Err(HandleError::transient("always"))
}

#[event_handler(name = "fails.thrice", from = beginning, retry = "once")]
async fn fail_thrice(_: OrderConfirmed, _: &OutboxTransaction) -> Result<(), HandleError> {
    Err(HandleError::transient("always"))
}

#[event_handler(name = "fails.always", from = beginning)]
async fn fail_always(_: OrderConfirmed, _: &OutboxTransaction) -> Result<(), HandleError> {
    Err(HandleError::transient("always"))
}

fn unset() -> HandlerSettings {
    HandlerSettings::default()
}

fn of_acme() -> HandlerSettings {
    unset().tenants(["acme"])
}

fn large() -> HandlerSettings {
    unset().when(field("payload.total").gte(1000))
}

async fn connect(database: &TestDatabase) -> OutboxConnection {
    OutboxConnection::new(database.connect(5).await)
}

/// The handlers that note what they see.
fn seeing(seen: &Seen) -> Handlers<Seen> {
    Handlers::new(seen.clone())
        .add(reserve::handler())
        .add(confirm::handler())
        .add(count::handler())
}

async fn commit(db: &OutboxConnection, tenant: Option<&str>, total: i64) {
    let tx = db.begin().await.unwrap();
    let metadata = Metadata::default();
    let metadata = match tenant {
        Some(tenant) => metadata.with_tenant(tenant),
        None => metadata,
    };
    let raising = tx.scope(async { raise(OrderConfirmed { total }) });
    metadata.scope(raising).await.unwrap();
    tx.commit().await.unwrap();
}

/// Runs a relay until nothing is left to do. It tries an event five times, and waits for nothing.
async fn relay(database: &TestDatabase, dispatcher: Dispatcher) -> OutboxStore {
    let store = OutboxStore::new(database.connect(5).await);
    let relay = Relay::builder(store.clone(), dispatcher).retry(RetryPolicy::immediate(5));
    relay.run_until_empty().await.unwrap();
    store
}

async fn a_filter_leaves_events_out_without_a_call_and_a_record(database: &TestDatabase) {
    let (db, seen) = (connect(database).await, Seen::default());
    let handlers = seeing(&seen)
        .configure("mail.confirm", of_acme())
        .configure("stock.reserve", large())
        .configure("orders.count", large().tenants(["acme", "globex"]));
    let orders = [
        (Some("acme"), 5),
        (Some("acme"), 1000),
        (Some("globex"), 2000),
        (Some("ACME"), 3000),
        (None, 4000),
    ];
    for (tenant, total) in orders {
        commit(&db, tenant, total).await;
    }
    relay(database, handlers.build(&db).unwrap()).await;
    assert_eq!(seen.by("mail.confirm"), [5, 1000]);
    assert_eq!(seen.by("stock.reserve"), [1000, 2000, 3000, 4000]);
    assert_eq!(seen.by("orders.count"), [1000, 2000]);
    for (table, rows) in [
        ("bento_handled_event", 8),
        ("bento_outbox", 0),
        ("bento_outbox_held", 0),
        ("bento_dead_letter", 0),
    ] {
        let sql = format!("SELECT count(*) FROM {table}");
        assert_eq!(database.number(&sql).await, rows, "{table}");
    }
}

async fn each_handler_is_tried_as_often_as_its_own_policy_says(database: &TestDatabase) {
    let db = connect(database).await;
    commit(&db, None, 1).await;
    let handlers = Handlers::new(())
        .add(fail_once::handler())
        .add(fail_thrice::handler())
        .add(fail_always::handler())
        .configure("fails.thrice", unset().retry(RetryPolicy::immediate(3)));
    let store = relay(database, handlers.build(&db).unwrap()).await;
    let letters = store.list(&DeadLetterQuery::default()).await.unwrap();
    let mut attempts: Vec<_> = letters
        .iter()
        .map(|letter| (&*letter.route, letter.attempts))
        .collect();
    attempts.sort_unstable();
    let expected = [("fails.always", 5), ("fails.once", 1), ("fails.thrice", 3)];
    assert_eq!(attempts, expected);
}

on_every_back_end! {
    a_filter_leaves_events_out_without_a_call_and_a_record,
    each_handler_is_tried_as_often_as_its_own_policy_says,
}

/// A delivery of an order of one aggregate.
fn delivery(handler: &str, total: i64) -> Delivery {
    let payload = format!(r#"{{"total":{total}}}"#);
    let mut event = Envelope::new("order.confirmed", 1, chrono::Utc::now(), payload);
    event.aggregate_type = "order".into();
    event.aggregate_id = "1".to_owned();
    Delivery::new(Arc::new(event), Destination::new(handler))
}

fn counted(counters: &Counters, handler: &str, outcome: &str) -> u64 {
    counters.get_with(
        HANDLED_EVENTS,
        &[("handler", handler), ("outcome", outcome)],
    )
}

#[tokio::test]
async fn events_that_are_left_out_are_counted_as_filtered() {
    in_database(DbBackend::Sqlite, async |database| {
        let (db, seen, counters) = (
            connect(database).await,
            Seen::default(),
            Counters::default(),
        );
        let _recording = counters.record();
        let handlers = seeing(&seen).configure("stock.reserve", large()).configure(
            "orders.count",
            unset().when(field("payload.total").lt(1000)),
        );
        let dispatcher = handlers.build(&db).unwrap();
        let mut answers = Vec::new();
        for total in [5, 1000] {
            answers.extend(
                dispatcher
                    .publish(&[delivery("stock.reserve", total)])
                    .await,
            );
        }
        // The first fails, and what is behind it in its aggregate is brought again.
        let batch = [1, 2000, 0, 3000, 2].map(|total| delivery("orders.count", total));
        answers.extend(dispatcher.publish(&batch).await);
        let are_done: Vec<_> = answers.iter().map(Result::is_ok).collect();
        assert_eq!(are_done, [true, true, true, true, false, false, false]);
        for (handler, filtered) in [("stock.reserve", 1), ("orders.count", 1)] {
            assert_eq!(
                counted(&counters, handler, "filtered"),
                filtered,
                "{handler}"
            );
            assert_eq!(counted(&counters, handler, "handled"), 1, "{handler}");
        }
        assert_eq!(seen.by("stock.reserve"), [1000]);
    })
    .await;
}

#[tokio::test]
async fn settings_go_before_the_attribute_and_later_ones_before_earlier_ones() {
    in_database(DbBackend::Postgres, async |database| {
        let (db, seen) = (connect(database).await, Seen::default());
        let seconds = Duration::from_secs;
        let of_the_file = BTreeMap::from([
            ("stock.reserve".to_owned(), unset().concurrency(3)),
            (
                "mail.confirm".to_owned(),
                unset().timeout(seconds(9)).concurrency(5),
            ),
        ]);
        let dispatcher = seeing(&seen)
            .settings(&of_the_file)
            .configure("mail.confirm", unset().concurrency(4))
            .build(&db)
            .unwrap();
        let answering = |handler| dispatcher.answering(&Destination::new(handler));
        let reserve = Answering::one_by_one(3).within(seconds(3));
        assert_eq!(answering("stock.reserve"), reserve);
        let mail = Answering::one_by_one(4).within(seconds(9));
        assert_eq!(answering("mail.confirm"), mail);
        let concurrency: Vec<_> = dispatcher
            .descriptors()
            .map(|handler| (handler.name, dispatcher.concurrency(handler)))
            .collect();
        assert_eq!(concurrency[0], ("mail.confirm", 4));
        assert_eq!(concurrency[2], ("stock.reserve", 3));
    })
    .await;
}

#[tokio::test]
async fn a_batch_has_the_timeout_of_its_settings() {
    in_database(DbBackend::Sqlite, async |database| {
        let (db, seen) = (connect(database).await, Seen::default());
        let limit = unset().timeout(Duration::from_millis(200));
        let handlers = seeing(&seen).configure("orders.count", limit);
        let dispatcher = handlers.build(&db).unwrap();
        let answers = dispatcher.publish(&[delivery("orders.count", -1)]).await;
        let error = answers[0].as_ref().unwrap_err().to_string();
        assert_eq!(error, "the handler did not finish within 200ms");
    })
    .await;
}

fn told(built: Result<Dispatcher, BuildError>) -> Vec<String> {
    let error = built.unwrap_err();
    error.faults().iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn every_fault_of_the_settings_is_told_at_once() {
    in_database(DbBackend::Postgres, async |database| {
        let (db, seen) = (connect(database).await, Seen::default());
        let paid = field("envelope.event_type").eq("order.paid");
        let handlers = seeing(&seen)
            .configure("stock.resrve", large())
            .configure("stock.reserve", unset().concurrency(6))
            .configure("mail.confirm", unset().timeout(Duration::ZERO).when(paid))
            .configure(
                "orders.count",
                unset().concurrency(2).when(field("total").gt(5)),
            );
        assert_eq!(
            told(handlers.build(&db)),
            [
                "there are settings for the handler `stock.resrve`, which this program does not \
                 have: the handlers are `fails.always`, `fails.once`, `fails.thrice`, \
                 `mail.confirm`, `orders.count`, `stock.reserve`; did you mean `stock.reserve`?",
                "a setting of handler `mail.confirm` is invalid: `timeout`: must be greater than \
                 0; leave it out for the timeout of the attribute or of the relay",
                "a setting of handler `mail.confirm` is invalid: `when`: no event can meet this \
                 condition: what it asks of `envelope.event_type` contradicts itself",
                "a setting of handler `orders.count` is invalid: `concurrency`: does not apply to \
                 a handler of batches, which has one call for all events that the relay hands \
                 over together; remove it",
                "a setting of handler `orders.count` is invalid: `when.total`: invalid path \
                 `total`: begin it with `payload.` or `envelope.`",
                "handler `stock.reserve` runs 6 calls at once, and the pool of the dispatcher has \
                 5 connection(s): lower `concurrency`, or raise `max_connections` of the pool",
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn settings_of_a_handler_that_runs_elsewhere_are_passed_over() {
    in_database(DbBackend::Sqlite, async |database| {
        let (db, seen) = (connect(database).await, Seen::default());
        let invalid = unset().concurrency(0);
        let left_out = seeing(&seen)
            .retain(|handler| handler.name != "mail.confirm")
            .configure("mail.confirm", invalid.clone());
        left_out.build(&db).unwrap();
        // It is in the binary, and was not added.
        let once = RetryPolicies::named("once").unwrap();
        let not_added = Handlers::new(seen)
            .add(reserve::handler())
            .configure("orders.count", invalid)
            .configure("stock.reserve", unset().retry(once));
        not_added.build(&db).unwrap();
    })
    .await;
}
