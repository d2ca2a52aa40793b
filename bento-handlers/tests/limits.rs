//! The terms on which a relay calls handlers: pools, and limits of time.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

#[path = "../../bento-seaorm/tests/support/mod.rs"]
mod support;

use std::time::Duration;

use bento_core::{EventId, domain_event};
use bento_handlers::{Dispatcher, HandleError};
use bento_handlers::{Handlers, IdempotencyKey, event_handler};
use bento_relay::Relay;
use bento_relay::publish::{Answering, Publisher, Publishers, RelayTerms};
use bento_seaorm::{OutboxConnection, OutboxStore, OutboxTransaction};
use sea_orm::{ConnectionTrait, DbBackend, Statement, TransactionTrait};

use crate::support::{TestDatabase, on_every_back_end};

#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Debug)]
pub struct OrderConfirmed {}

#[event_handler(name = "stock.reserve", timeout = "6s")]
async fn reserve(_event: OrderConfirmed, _tx: &OutboxTransaction) -> Result<(), HandleError> {
    Ok(())
}

#[event_handler(name = "stock.count")]
async fn count(_event: OrderConfirmed, _tx: &OutboxTransaction) -> Result<(), HandleError> {
    Ok(())
}

#[event_handler(name = "mail.send", timeout = "20s")]
async fn send(_event: OrderConfirmed, _key: IdempotencyKey) -> Result<(), HandleError> {
    Ok(())
}

async fn dispatcher(database: &TestDatabase) -> Dispatcher {
    let db = OutboxConnection::new(database.connect(4).await);
    Handlers::registered().build(&db).unwrap()
}

fn limit_of(dispatcher: &Dispatcher, handler: &str) -> Option<Duration> {
    let mut routes = dispatcher.handlers().into_iter();
    let route = routes.find(|route| &*route.name == handler).unwrap();
    match dispatcher.answering(&route.destination()) {
        Answering::OneByOne { limit, .. } => limit,
        Answering::Together => panic!("`{handler}` answers one by one"),
    }
}

async fn the_pool_of_the_store_is_refused(database: &TestDatabase) {
    let pool = database.connect(4).await;
    let handlers = || {
        let db = OutboxConnection::new(pool.clone());
        Handlers::registered().build(&db).unwrap()
    };
    let relay = |publishers: Publishers| {
        let store = OutboxStore::new(pool.clone());
        Relay::builder(store, publishers).lease(Duration::from_secs(30))
    };
    let started = relay(Publishers::new().with_handlers(handlers())).start();
    // A database in memory has one connection for everybody.
    if database.is(DbBackend::Sqlite) {
        return started.unwrap().stop().await.unwrap();
    }
    let error = started.unwrap_err().to_string();
    let expected = "the relay cannot start with this publisher: the handlers have the pool of the \
                    relay's store";
    assert!(error.starts_with(expected), "{error}");
    let passed = relay(Publishers::new().with("jobs", handlers()))
        .run_until_empty()
        .await;
    assert_eq!(passed.unwrap_err().to_string(), error);
    let own = Publishers::new().with_handlers(dispatcher(database).await);
    relay(own).run_until_empty().await.unwrap();
}

async fn a_transaction_on_sqlite_is_shorter_than_half_the_lease(database: &TestDatabase) {
    let dispatcher = dispatcher(database).await;
    let (ten, thirty) = (Duration::from_secs(10), Duration::from_secs(30));
    let prepared = dispatcher.prepare(&RelayTerms::new(ten, thirty));
    if !database.is(DbBackend::Sqlite) {
        prepared.unwrap();
        return assert_eq!(limit_of(&dispatcher, "stock.count"), None);
    }
    assert_eq!(
        prepared.unwrap_err().reason(),
        "`timeout = 6s` of handler `stock.reserve` must be below half of the relay's lease of 10s \
         on SQLite, where its transaction keeps the lease from being renewed; lower the timeout, \
         or raise `relay.lease`"
    );
    dispatcher
        .prepare(&RelayTerms::new(thirty, thirty))
        .unwrap();
    assert_eq!(
        limit_of(&dispatcher, "stock.reserve"),
        Some(Duration::from_secs(6))
    );
    assert_eq!(
        limit_of(&dispatcher, "stock.count"),
        Some(Duration::from_secs(12))
    );
    // It holds no transaction open.
    assert_eq!(
        limit_of(&dispatcher, "mail.send"),
        Some(Duration::from_secs(20))
    );
}

/// The first transaction is never used again, as that of a process that is frozen.
async fn a_frozen_process_keeps_an_event_for_a_while(database: &TestDatabase) {
    let db = OutboxConnection::new(database.connect(4).await);
    let (event, idle) = (EventId::new(), Duration::from_secs(1));
    if database.is(DbBackend::Sqlite) {
        return;
    }
    let frozen = db.begin_handling(idle).await.unwrap();
    assert_eq!(
        frozen.record_handled("stock.reserve", event).await.unwrap(),
        Some(0)
    );
    let other = db.begin_handling(idle).await.unwrap();
    // It waits until the database has ended the first.
    assert_eq!(
        other.record_handled("stock.reserve", event).await.unwrap(),
        Some(0)
    );
    other.commit().await.unwrap();
    let late = frozen.record_handled("stock.reserve", EventId::new()).await;
    assert!(late.is_err(), "its session is gone");
    let record = db.handled_record("stock.reserve", event).await.unwrap();
    assert!(record.is_done);
}

/// A transaction of the service is not a handler's, although it has its session.
async fn the_limit_of_a_frozen_process_ends_with_its_transaction(database: &TestDatabase) {
    let db = OutboxConnection::new(database.connect(1).await);
    let handler = db.begin_handling(Duration::from_secs(1)).await.unwrap();
    handler.commit().await.unwrap();
    let tx = db.begin().await.unwrap();
    let limit = "SELECT CAST(@@idle_transaction_timeout AS SIGNED)";
    // Only MariaDB has it for a session.
    if database.is(DbBackend::MySql)
        && let Ok(row) = tx
            .query_one_raw(Statement::from_string(database.backend(), limit))
            .await
    {
        let limit: i64 = row.unwrap().try_get_by_index(0).unwrap();
        assert_eq!(limit, 0);
    }
    tx.rollback().await.unwrap();
}

async fn events_are_written_while_old_records_are_removed(database: &TestDatabase) {
    // It has one writer at a time.
    if database.is(DbBackend::Sqlite) {
        return;
    }
    let db = OutboxConnection::new(database.connect(4).await);
    for handler in ["stock.first", "stock.second"] {
        db.record_handled(handler, EventId::new(), 0).await.unwrap();
    }
    // The removal waits for the second record, and has looked for the event of the first one.
    let other = database.db.begin().await.unwrap();
    let locked =
        "UPDATE bento_handled_event SET outcome = 'handled' WHERE handler = 'stock.second'";
    other.execute_unprepared(locked).await.unwrap();
    let mut removal = std::pin::pin!(db.prune_handled(Duration::ZERO, 10));
    let waits = tokio::time::timeout(Duration::from_secs(1), &mut removal).await;
    assert!(waits.is_err(), "the second record is locked");
    let writing = db.transaction_async(async |_| {
        bento_core::raise(OrderConfirmed {}).unwrap();
        Ok::<_, sea_orm::DbErr>(())
    });
    let written = tokio::time::timeout(Duration::from_secs(10), writing).await;
    written.expect("the outbox can be written").unwrap();
    other.rollback().await.unwrap();
    assert_eq!(removal.await.unwrap(), 2);
}

on_every_back_end! {
    the_pool_of_the_store_is_refused,
    a_transaction_on_sqlite_is_shorter_than_half_the_lease,
    a_frozen_process_keeps_an_event_for_a_while,
    the_limit_of_a_frozen_process_ends_with_its_transaction,
    events_are_written_while_old_records_are_removed,
}
