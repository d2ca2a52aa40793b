//! A commit whose answer is lost: the record tells whether it has happened.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

#[path = "../../bento-seaorm/tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bento_core::{Envelope, domain_event};
use bento_handlers::{HandleError, Handlers, State, event_handler};
use bento_relay::publish::{Delivery, Destination, FailureClass, PublishError, Publisher};
use bento_seaorm::{OutboxConnection, OutboxTransaction};
use sea_orm::{ConnectionTrait, DbBackend};

use crate::support::proxy::{Loses, Proxy};
use crate::support::{TestDatabase, connect, on_every_back_end};

#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Debug)]
pub struct OrderConfirmed {}

/// A proxy that loses something at the commit of the first call.
#[derive(Clone)]
struct AtTheCommit {
    proxy: Arc<Proxy>,
    loses: Loses,
    calls: Arc<AtomicU32>,
}

#[event_handler(name = "stock.reserve")]
async fn reserve(
    _event: OrderConfirmed,
    tx: &OutboxTransaction,
    State(commit): State<AtTheCommit>,
) -> Result<(), HandleError> {
    tx.execute_unprepared("UPDATE counters SET n = n + 1")
        .await?;
    if commit.calls.fetch_add(1, Ordering::SeqCst) == 0 {
        commit.proxy.lose(commit.loses);
    }
    Ok(())
}

/// Handles one event twice. Returns the answers, the number of calls and the counter.
async fn handled_twice(
    database: &TestDatabase,
    loses: Loses,
) -> ([Result<(), PublishError>; 2], u32, i64) {
    let create = "CREATE TABLE counters (n BIGINT NOT NULL)";
    database.db.execute_unprepared(create).await.unwrap();
    let insert = "INSERT INTO counters VALUES (0)";
    database.db.execute_unprepared(insert).await.unwrap();
    let proxy = Arc::new(Proxy::before(database.url(), Duration::ZERO).await);
    let commit = AtTheCommit {
        loses,
        calls: Arc::default(),
        proxy: Arc::clone(&proxy),
    };
    let db = OutboxConnection::new(connect(proxy.url(), 2).await);
    let handlers = Handlers::registered().state(commit.clone());
    let dispatcher = handlers.build(&db).unwrap();
    let event = Envelope::new("order.confirmed", 1, chrono::Utc::now(), "{}");
    let delivery = Delivery::new(Arc::new(event), Destination::new("stock.reserve"));
    let first = dispatcher.publish(std::slice::from_ref(&delivery)).await;
    let second = dispatcher.publish(&[delivery]).await;
    let answers = [first, second].map(|mut answers| answers.remove(0));
    let calls = commit.calls.load(Ordering::SeqCst);
    (
        answers,
        calls,
        database.number("SELECT n FROM counters").await,
    )
}

async fn a_commit_whose_answer_is_lost_is_found_in_the_record(database: &TestDatabase) {
    if database.is(DbBackend::Sqlite) {
        return;
    }
    let ([first, second], calls, counter) = handled_twice(database, Loses::Answer).await;
    first.unwrap();
    second.unwrap();
    assert_eq!((calls, counter), (1, 1));
}

async fn a_commit_that_did_not_happen_is_no_attempt(database: &TestDatabase) {
    if database.is(DbBackend::Sqlite) {
        return;
    }
    let ([first, second], calls, counter) = handled_twice(database, Loses::Request).await;
    let error = first.unwrap_err();
    assert_eq!(error.class(), FailureClass::NotTried, "{error}");
    second.unwrap();
    assert_eq!((calls, counter), (2, 1));
}

on_every_back_end! {
    a_commit_whose_answer_is_lost_is_found_in_the_record,
    a_commit_that_did_not_happen_is_no_attempt,
}
