//! The failures of a handler that count as attempts, and those that do not, on every back end.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

#[path = "../../bento-seaorm/tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use bento_core::{Envelope, PendingEvents, aggregate, domain_event};
use bento_handlers::{Batch, Dispatcher, HandleError, Handlers, State, event_handler};
use bento_relay::publish::{Delivery, Destination, FailureClass, PublishError, Publisher};
use bento_seaorm::{OutboxConnection, OutboxTransaction};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend};
use sea_orm::{Statement, TransactionTrait};
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

#[domain_event(schema = "account.opened", version = 1)]
#[derive(Clone, Debug)]
pub struct AccountOpened {}

#[aggregate(event_sourced, events(AccountOpened), name = "account")]
#[derive(Debug, Default)]
pub struct Account {
    id: String,
    #[aggregate(version)]
    version: i64,
    is_open: bool,
    events: PendingEvents,
}

impl Account {
    fn open(number: i64) -> Self {
        let mut account = Self {
            id: number.to_string(),
            ..Self::default()
        };
        account.raise(AccountOpened {});
        account
    }

    fn apply(&mut self, _: &AccountEvent) {
        self.is_open = true;
    }
}

/// Signals between a handler and its test.
#[derive(Clone, Debug, Default)]
struct Signals {
    begun: Arc<Notify>,
    go: Arc<Notify>,
}

#[event_handler(name = "account.open")]
async fn open(
    event: OrderConfirmed,
    tx: &OutboxTransaction,
    State(signals): State<Signals>,
) -> Result<(), HandleError> {
    let mut account = Account::open(event.order_id);
    match &*event.mood {
        "gives up" => {
            let nested = tx.begin().await?;
            let saved = nested.save(&mut account).await;
            nested.rollback().await?;
            saved.map_err(|_| HandleError::permanent("the account is open"))
        }
        "meets a lock" => Ok(locked(tx).await?),
        "gives up at a lock" => {
            let nested = tx.begin().await?;
            let found = locked(&nested).await;
            nested.rollback().await?;
            found.map_err(|_| HandleError::permanent("somebody else works on it"))
        }
        "skips" => {
            signals.begun.notify_one();
            signals.go.notified().await;
            Err(HandleError::skip("not one of ours"))
        }
        _ => Ok(tx.save(&mut account).await?),
    }
}

/// Fails if another transaction has locked the counter.
async fn locked(tx: &OutboxTransaction) -> Result<(), sea_orm::DbErr> {
    let select = "SELECT n FROM counters FOR UPDATE NOWAIT";
    let select = Statement::from_string(tx.get_database_backend(), select);
    tx.query_one_raw(select).await.map(drop)
}

#[event_handler(name = "accounts.open")]
async fn open_all(
    events: Batch<OrderConfirmed>,
    tx: &OutboxTransaction,
) -> Result<(), HandleError> {
    for event in events.iter() {
        if event.mood == "hangs" {
            std::future::pending::<()>().await;
        }
        tx.save(&mut Account::open(event.order_id)).await?;
    }
    Ok(())
}

#[event_handler(name = "stock.announce")]
async fn announce(
    events: Batch<OrderConfirmed>,
    _tx: &OutboxTransaction,
) -> Result<(), HandleError> {
    for event in events.iter() {
        let order_id = event.order_id;
        bento_core::raise(StockReserved { order_id })?;
    }
    Ok(())
}

fn dispatcher(pool: &DatabaseConnection, signals: &Signals) -> Dispatcher {
    let handlers = Handlers::registered().state(signals.clone());
    handlers
        .build(&OutboxConnection::new(pool.clone()))
        .unwrap()
}

fn delivery(handler: &str, order_id: i64, mood: &str) -> Delivery {
    let payload = format!(r#"{{"order_id":{order_id},"mood":"{mood}"}}"#);
    let mut event = Envelope::new("order.confirmed", 1, chrono::Utc::now(), payload);
    event.aggregate_type = "order".into();
    event.aggregate_id = event.event_id.to_string();
    Delivery::new(Arc::new(event), Destination::new(handler))
}

fn class(answer: &Result<(), PublishError>) -> Option<FailureClass> {
    answer.as_ref().err().map(PublishError::class)
}

async fn answer(dispatcher: &Dispatcher, delivery: &Delivery) -> Option<FailureClass> {
    let answers = dispatcher.publish(std::slice::from_ref(delivery)).await;
    class(&answers[0])
}

async fn a_conflict_is_an_attempt_and_what_is_said_of_it_stands(database: &TestDatabase) {
    let dispatcher = dispatcher(&database.connect(5).await, &Signals::default());
    let first = delivery("account.open", 1, "fine");
    assert_eq!(answer(&dispatcher, &first).await, None);
    let again = delivery("account.open", 1, "fine");
    for _ in 0..2 {
        let found = answer(&dispatcher, &again).await;
        assert_eq!(found, Some(FailureClass::Transient));
    }
    let gives_up = delivery("account.open", 1, "gives up");
    let found = answer(&dispatcher, &gives_up).await;
    assert_eq!(found, Some(FailureClass::Permanent));
}

async fn a_conflict_in_a_batch_is_that_of_its_event(database: &TestDatabase) {
    let dispatcher = dispatcher(&database.connect(5).await, &Signals::default());
    let batch = [1, 2, 1, 3].map(|order| delivery("accounts.open", order, "fine"));
    let answers = dispatcher.publish(&batch).await;
    let classes: Vec<_> = answers.iter().map(class).collect();
    assert_eq!(classes, [None, None, Some(FailureClass::Transient), None]);
}

async fn a_lock_is_no_attempt_unless_the_handler_gives_up(database: &TestDatabase) {
    // It has no locks of rows.
    if database.is(DbBackend::Sqlite) {
        return;
    }
    let create = "CREATE TABLE counters (n BIGINT NOT NULL)";
    database.db.execute_unprepared(create).await.unwrap();
    let insert = "INSERT INTO counters VALUES (0)";
    database.db.execute_unprepared(insert).await.unwrap();
    let other = database.db.begin().await.unwrap();
    let update = "UPDATE counters SET n = 1";
    other.execute_unprepared(update).await.unwrap();
    let dispatcher = dispatcher(&database.connect(5).await, &Signals::default());
    let found = answer(&dispatcher, &delivery("account.open", 1, "meets a lock")).await;
    assert_eq!(found, Some(FailureClass::NotTried));
    let gives_up = delivery("account.open", 1, "gives up at a lock");
    let found = answer(&dispatcher, &gives_up).await;
    assert_eq!(found, Some(FailureClass::Permanent));
    other.rollback().await.unwrap();
}

/// The record of a skipped event is written when its transaction is over, and there may be no
/// connection for it then.
async fn a_record_that_finds_no_connection_is_no_attempt(database: &TestDatabase) {
    let mut options = ConnectOptions::new(database.url());
    let options = options
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(2))
        .sqlx_logging(false);
    let pool = Database::connect(options.to_owned()).await.unwrap();
    let signals = Signals::default();
    let dispatcher = dispatcher(&pool, &signals);
    let skips = delivery("account.open", 1, "skips");
    let other = async {
        signals.begun.notified().await;
        let mut waiting = std::pin::pin!(pool.begin());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        signals.go.notify_one();
        waiting.await.unwrap()
    };
    let (found, other) = tokio::join!(answer(&dispatcher, &skips), other);
    assert_eq!(found, Some(FailureClass::NotTried));
    other.rollback().await.unwrap();
    signals.go.notify_one();
    assert_eq!(answer(&dispatcher, &skips).await, None);
}

/// The relay leaves so little time that the event that hangs is found over several calls.
async fn an_event_that_hangs_is_found_and_the_others_are_handled(database: &TestDatabase) {
    let dispatcher = dispatcher(&database.connect(5).await, &Signals::default());
    let mood = |order| if order == 5 { "hangs" } else { "fine" };
    let batch = (0..8).map(|order| delivery("accounts.open", order, mood(order)));
    let mut left: Vec<_> = batch.collect();
    let limit = Duration::from_secs(2);
    let hung = &left[5].envelope.event_id.clone();
    let mut attempts = 0;
    for _ in 0..8 {
        let due: Vec<_> = left.iter().cloned().map(|one| one.within(limit)).collect();
        let answers = tokio::time::timeout(limit, dispatcher.publish(&due)).await;
        let answers = answers.expect("the answer comes before the relay gives up");
        for (due, answer) in due.iter().zip(&answers) {
            match class(answer) {
                None => left.retain(|one| one.envelope.event_id != due.envelope.event_id),
                Some(FailureClass::NotTried) => {}
                Some(class) => {
                    assert_eq!(class, FailureClass::Transient);
                    assert_eq!(
                        due.envelope.event_id, *hung,
                        "its neighbours are not to blame"
                    );
                    attempts += 1;
                }
            }
        }
        if left.len() == 1 && attempts > 0 {
            break;
        }
    }
    assert!(attempts > 0, "the event that hangs has an attempt");
    assert_eq!(left.len(), 1, "the others are handled");
}

async fn a_batch_goes_on_with_the_longest_chain_and_refuses_a_loop(database: &TestDatabase) {
    let dispatcher = dispatcher(&database.connect(5).await, &Signals::default());
    let behind = |hops: &str| {
        let mut delivery = delivery("stock.announce", 1, "fine");
        let event = Arc::get_mut(&mut delivery.envelope).unwrap();
        event.headers = format!(r#"{{"bento-hops":"{hops}"}}"#).into();
        delivery
    };
    let batch = [
        behind("3"),
        behind("32"),
        delivery("stock.announce", 2, "fine"),
    ];
    let answers = dispatcher.publish(&batch).await;
    let classes: Vec<_> = answers.iter().map(class).collect();
    assert_eq!(classes, [None, Some(FailureClass::Permanent), None]);
    let refused = answers[1].as_ref().unwrap_err().chain();
    assert!(refused.starts_with("causation_loop: "), "{refused}");
    let raised = database.outbox().await;
    let headers: Vec<_> = raised.iter().map(|event| &*event.headers).collect();
    assert_eq!(headers, [r#"{"bento-hops":"4"}"#; 2]);
}

on_every_back_end! {
    a_conflict_is_an_attempt_and_what_is_said_of_it_stands,
    a_conflict_in_a_batch_is_that_of_its_event,
    a_lock_is_no_attempt_unless_the_handler_gives_up,
    a_record_that_finds_no_connection_is_no_attempt,
    an_event_that_hangs_is_found_and_the_others_are_handled,
    a_batch_goes_on_with_the_longest_chain_and_refuses_a_loop,
}
