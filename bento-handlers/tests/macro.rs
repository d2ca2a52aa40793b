//! The expansions of `#[event_handler]`, whose functions the dispatcher calls, and of
//! `#[projection]`: the descriptors, and the calls.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bento_core::{Envelope, PendingEvents, aggregate, domain_event};
use bento_handlers::{
    Batch, BuildFault, CancellationToken, Dispatcher, Effect, EventContext, FromRef, HandleError,
    HandlerDescriptor, HandlerRegistration, Handlers, IdempotencyKey, StartFrom, State,
    event_handler,
};
use bento_relay::publish::{Delivery, Destination, Publisher};
use bento_seaorm::{OutboxConnection, OutboxTransaction};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, Statement};

#[path = "macro/declared.rs"]
mod declared;
#[path = "macro/hygiene.rs"]
pub mod hygiene;
#[path = "macro/projected.rs"]
mod projected;

/// The front door as another crate would export it.
mod framework {
    pub(crate) use bento_handlers as handlers;
}

/// An order was confirmed.
#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct OrderConfirmed {
    /// The order.
    pub order_id: u64,
}

#[domain_event(schema = "order.paid", version = 1)]
#[derive(Clone, Debug, PartialEq)]
struct OrderPaid {
    order_id: u64,
}

#[domain_event(schema = "stock.reserved", version = 1)]
#[derive(Clone, Debug, PartialEq)]
struct StockReserved {
    order_id: u64,
}

#[aggregate(events(OrderConfirmed, OrderPaid), name = "order")]
struct Order {
    id: u64,
    events: PendingEvents,
}

/// A counter that the handlers of a test raise.
#[derive(Clone, Debug, Default)]
struct Counter(Arc<AtomicU64>);

impl Counter {
    fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::SeqCst);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Reserves the stock of an order.
///
/// Raises nothing.
#[event_handler(
    name = "stock.reserve",
    timeout = "1m30s",
    concurrency = 1,
    retry = "patient",
    order = none,
    from = beginning
)]
async fn reserve(
    OrderConfirmed { order_id }: OrderConfirmed,
    tx: &OutboxTransaction,
    State(mut counter): State<Counter>,
) -> Result<(), HandleError> {
    let sql = format!("INSERT INTO reserved VALUES ({order_id})");
    tx.execute_unprepared(&sql).await?;
    counter.add(order_id);
    counter = Counter::default();
    drop(counter);
    Ok(())
}

#[event_handler(name = "mail.confirmation")]
async fn confirm(
    event: OrderConfirmed,
    key: IdempotencyKey,
    State(counter): State<Counter>,
    context: EventContext,
    cancelled: CancellationToken,
) -> Result<(), HandleError> {
    assert_eq!(
        key,
        IdempotencyKey::new("mail.confirmation", context.event_id(), 0)
    );
    assert!(!cancelled.is_cancelled());
    counter.add(event.order_id);
    Ok(())
}

#[event_handler(name = "stock.announce")]
async fn announce(event: OrderConfirmed) -> Result<Option<StockReserved>, HandleError> {
    Ok((event.order_id > 0).then_some(StockReserved {
        order_id: event.order_id,
    }))
}

#[event_handler(name = "order.progress")]
async fn progress(
    event: OrderEvent,
    _: &OutboxTransaction,
    State(counter): State<Counter>,
) -> Result<(), HandleError> {
    match event {
        OrderEvent::OrderConfirmed(_) => counter.add(1),
        OrderEvent::OrderPaid(_) => counter.add(10),
    }
    Ok(())
}

#[event_handler(name = "audit.write", events = ("order.*", "stock.reserved"), from = now)]
async fn audit(
    event: Envelope,
    _tx: &OutboxTransaction,
    State(counter): State<Counter>,
) -> Result<(), HandleError> {
    counter.add(event.payload.len() as u64);
    Ok(())
}

#[event_handler(name = "orders.index", events = "order.*")]
async fn index(events: Batch<Envelope>, _tx: &OutboxTransaction) -> Result<(), HandleError> {
    assert!(!events.is_empty());
    Ok(())
}

#[event_handler(name = "orders.count", from = "2026-11-01T00:00:00.5+01:00")]
async fn count(
    events: Batch<OrderConfirmed>,
    _tx: &OutboxTransaction,
    State(counter): State<Counter>,
) -> Result<(), HandleError> {
    counter.add(events.iter().map(|event| event.order_id).sum());
    Ok(())
}

/// An error of the application is enough: it becomes a transient one.
#[event_handler(name = "stock.fail")]
async fn fail(event: OrderConfirmed, _tx: &OutboxTransaction) -> Result<(), std::fmt::Error> {
    if event.order_id == 0 {
        Err(std::fmt::Error)
    } else {
        Ok(())
    }
}

fn descriptor(name: &str) -> &'static HandlerDescriptor {
    let mut all = inventory_of_handlers();
    all.find(|handler| handler.name == name).unwrap()
}

fn inventory_of_handlers() -> impl Iterator<Item = &'static HandlerDescriptor> {
    bento_handlers::__private::inventory::iter::<HandlerRegistration>().map(|handler| handler.0)
}

async fn database() -> OutboxConnection {
    let mut options = ConnectOptions::new("sqlite::memory:");
    options.max_connections(1).sqlx_logging(false);
    let db = Database::connect(options).await.unwrap();
    bento_seaorm::migrate(&db).await.unwrap();
    db.execute_unprepared("CREATE TABLE reserved (order_id INTEGER)")
        .await
        .unwrap();
    OutboxConnection::new(db)
}

async fn number(db: &OutboxConnection, query: &str) -> i64 {
    let statement = Statement::from_string(db.get_database_backend(), query);
    let row = db.query_one_raw(statement).await.unwrap().unwrap();
    row.try_get_by_index(0).unwrap()
}

fn confirmed(order_id: u64) -> Arc<Envelope> {
    envelope("order.confirmed", order_id)
}

fn envelope(event_type: &'static str, order_id: u64) -> Arc<Envelope> {
    let payload = format!(r#"{{"order_id":{order_id}}}"#);
    Arc::new(Envelope::new(event_type, 1, chrono::Utc::now(), payload))
}

/// All handlers of this program, with the states that they take, and none of its projections.
fn registered(db: &OutboxConnection, counter: &Counter) -> Dispatcher {
    let handlers = Handlers::registered()
        .retain_projections(|_| false)
        .state(counter.clone())
        .state(hygiene::library::stock());
    handlers.build(db).unwrap()
}

/// The answer for one event.
async fn handle(
    dispatcher: &Dispatcher,
    handler: &str,
    event: &Arc<Envelope>,
) -> Result<(), bento_relay::publish::PublishError> {
    let delivery = Delivery::new(Arc::clone(event), Destination::new(handler));
    let mut answers = dispatcher.publish(&[delivery]).await;
    answers.pop().unwrap()
}

#[tokio::test]
async fn a_handler_writes_once_in_its_transaction() {
    let (db, counter) = (database().await, Counter::default());
    let dispatcher = registered(&db, &counter);
    let event = confirmed(7);
    for _ in 0..2 {
        handle(&dispatcher, "stock.reserve", &event).await.unwrap();
    }
    assert_eq!(number(&db, "SELECT SUM(order_id) FROM reserved").await, 7);
    assert_eq!(counter.get(), 7);
}

#[tokio::test]
async fn a_handler_with_a_key_gets_what_it_asks_for() {
    let (db, counter) = (database().await, Counter::default());
    let dispatcher = registered(&db, &counter);
    let event = confirmed(5);
    for _ in 0..2 {
        handle(&dispatcher, "mail.confirmation", &event)
            .await
            .unwrap();
    }
    assert_eq!(counter.get(), 5);
}

#[tokio::test]
async fn returned_events_are_raised_in_the_transaction() {
    let db = database().await;
    let dispatcher = Handlers::new(())
        .add(announce::handler())
        .build(&db)
        .unwrap();
    handle(&dispatcher, "stock.announce", &confirmed(0))
        .await
        .unwrap();
    assert_eq!(number(&db, "SELECT COUNT(*) FROM bento_outbox").await, 0);
    let event = confirmed(9);
    handle(&dispatcher, "stock.announce", &event).await.unwrap();
    handle(&dispatcher, "stock.announce", &event).await.unwrap();
    let raised = "SELECT COUNT(*) FROM bento_outbox WHERE event_type = 'stock.reserved'";
    assert_eq!(number(&db, raised).await, 1);
}

#[tokio::test]
async fn a_handler_takes_the_enum_of_an_aggregate() {
    let (db, counter) = (database().await, Counter::default());
    let error = Handlers::registered().build(&db).unwrap_err();
    assert!(error.faults().iter().any(|fault| matches!(
        fault,
        BuildFault::MissingState {
            handler: "order.progress",
            ..
        }
    )));
    let handlers = Handlers::new(counter.clone()).add(progress::handler());
    let dispatcher = handlers.build(&db).unwrap();
    handle(&dispatcher, "order.progress", &confirmed(1))
        .await
        .unwrap();
    handle(&dispatcher, "order.progress", &envelope("order.paid", 1))
        .await
        .unwrap();
    assert_eq!(counter.get(), 11);
    let other = envelope("stock.reserved", 1);
    let error = handle(&dispatcher, "order.progress", &other)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("stock.reserved"), "{error}");
}

#[tokio::test]
async fn a_handler_takes_the_envelopes_of_its_patterns() {
    let (db, counter) = (database().await, Counter::default());
    let dispatcher = registered(&db, &counter);
    let event = confirmed(1);
    handle(&dispatcher, "audit.write", &event).await.unwrap();
    assert_eq!(counter.get(), event.payload.len() as u64);
    handle(&dispatcher, "orders.index", &event).await.unwrap();
}

#[tokio::test]
async fn a_handler_takes_a_batch() {
    let (db, counter) = (database().await, Counter::default());
    let dispatcher = registered(&db, &counter);
    handle(&dispatcher, "orders.count", &confirmed(3))
        .await
        .unwrap();
    assert_eq!(counter.get(), 3);
}

#[tokio::test]
async fn a_payload_that_cannot_be_read_is_refused() {
    let db = database().await;
    let dispatcher = Handlers::new(())
        .add(announce::handler())
        .build(&db)
        .unwrap();
    let malformed = Envelope::new(
        "order.confirmed",
        1,
        chrono::Utc::now(),
        r#"{"order_id":"x"}"#,
    );
    let answer = handle(&dispatcher, "stock.announce", &Arc::new(malformed)).await;
    let error = answer.unwrap_err();
    assert_eq!(error.class(), bento_relay::publish::FailureClass::Permanent);
}

#[tokio::test]
async fn any_error_of_the_application_is_an_answer() {
    let db = database().await;
    let dispatcher = Handlers::new(()).add(fail::handler()).build(&db).unwrap();
    let error = handle(&dispatcher, "stock.fail", &confirmed(0))
        .await
        .unwrap_err();
    assert_eq!(error.class(), bento_relay::publish::FailureClass::Transient);
    handle(&dispatcher, "stock.fail", &confirmed(1))
        .await
        .unwrap();
}

/// The state of an application, with a part for the handlers.
struct App {
    counter: Counter,
}

impl FromRef<App> for Counter {
    fn from_ref(app: &App) -> Self {
        app.counter.clone()
    }
}

#[tokio::test]
async fn a_part_of_the_state_is_found_by_its_type() {
    let (db, counter) = (database().await, Counter::default());
    let app = App {
        counter: counter.clone(),
    };
    let handlers = Handlers::new(app)
        .add(confirm::handler())
        .add(count::handler());
    let dispatcher = handlers.build(&db).unwrap();
    handle(&dispatcher, "mail.confirmation", &confirmed(2))
        .await
        .unwrap();
    handle(&dispatcher, "orders.count", &confirmed(4))
        .await
        .unwrap();
    assert_eq!(counter.get(), 6);
}

#[tokio::test]
async fn a_handler_can_be_called_like_any_function() {
    let db = database().await;
    let tx = db.begin().await.unwrap();
    let counter = State(Counter::default());
    reserve(OrderConfirmed { order_id: 3 }, &tx, counter)
        .await
        .unwrap();
    let returned = announce(OrderConfirmed { order_id: 3 }).await.unwrap();
    assert_eq!(returned, Some(StockReserved { order_id: 3 }));
    tx.rollback().await.unwrap();
}
