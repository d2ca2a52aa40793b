//! The log and the metrics of transactions.

use bento_core::{EventId, Metadata};
use bento_relay::telemetry::{
    DUPLICATE_EVENTS, FLUSHED_EVENTS, FORGOTTEN_EVENTS, TARGET_FLUSH, TARGET_RAISE,
};
use bento_seaorm::{Error, OutboxConnection, OutboxTransaction};
use bento_testkit::Counters;
use futures_util::FutureExt as _;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use tracing::Level;

use crate::log::{Line, log};
use crate::shop::{self, Order, OrderPaid};
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    a_committed_event_is_logged_with_its_fields,
    an_event_that_was_rolled_back_is_not_logged,
    an_id_repeated_in_one_transaction_is_warned_of_and_counted,
    an_id_that_the_outbox_knows_is_warned_of_and_counted,
    an_id_written_by_two_transactions_is_claimed_once,
    an_event_flushed_after_a_cancelled_flush_is_written_once,
    forgotten_events_are_warned_of_with_the_line_of_the_raise,
    the_outer_connection_inside_its_own_scope_is_warned_of,
);

async fn a_committed_event_is_logged_with_its_fields(database: &TestDatabase) {
    let db = shop::open(database).await;
    let (log, guard) = log();
    request()
        .scope(db.transaction_async(async |tx| Order::place(1).insert(tx).await))
        .await
        .unwrap();
    drop(guard);
    let lines = log.lines(Level::DEBUG, TARGET_FLUSH);
    let event_id = database.outbox().await[0].event_id.to_string();
    assert_eq!(lines.len(), 1);
    assert_eq!(
        fields(&lines[0]),
        [event_id.as_str(), "order.placed", "1", "request-7", "acme"]
    );
}

/// The metadata of a request.
fn request() -> Metadata {
    let mut metadata = Metadata::default();
    metadata.correlation_id = Some("request-7".into());
    metadata.tenant_id = Some("acme".into());
    metadata
}

/// The fields that every line about an event has.
fn fields(line: &Line) -> [&str; 5] {
    [
        "event_id",
        "event_type",
        "aggregate_id",
        "correlation_id",
        "tenant_id",
    ]
    .map(|field| line.get(field).map_or("", String::as_str))
}

async fn an_event_that_was_rolled_back_is_not_logged(database: &TestDatabase) {
    let db = shop::open(database).await;
    let (log, guard) = log();
    let counters = Counters::default();
    let recording = counters.record();
    let tx = db.begin().await.unwrap();
    tx.scope(async { Order::place(1).insert(&tx).await })
        .await
        .unwrap();
    tx.flush().await.unwrap();
    tx.rollback().await.unwrap();
    drop((guard, recording));
    assert!(log.lines(Level::DEBUG, TARGET_FLUSH).is_empty());
    assert_eq!(counters.get(FLUSHED_EVENTS), 0);
}

/// Pays order 7 under an id of the caller's choice.
fn pay_as(event_id: EventId) {
    let mut order = Order {
        id: 7,
        total: 1,
        events: Default::default(),
    };
    order.raise_with(OrderPaid { order_id: 7 }, |metadata| {
        metadata.with_event_id(event_id)
    });
}

async fn pay_in_a_request(db: &OutboxConnection, event_id: EventId, times: usize) {
    let pay = async |_: &OutboxTransaction| {
        (0..times).for_each(|_| pay_as(event_id));
        Ok::<_, Error>(())
    };
    request().scope(db.transaction_async(pay)).await.unwrap();
}

async fn an_id_repeated_in_one_transaction_is_warned_of_and_counted(database: &TestDatabase) {
    let db = shop::open(database).await;
    let (log, guard) = log();
    let counters = Counters::default();
    let recording = counters.record();
    let event_id = EventId::new();
    pay_in_a_request(&db, event_id, 3).await;
    drop((guard, recording));
    let warned = log.lines(Level::WARN, TARGET_FLUSH);
    let expected = [
        event_id.to_string(),
        "order.paid".into(),
        "7".into(),
        "request-7".into(),
        "acme".into(),
    ];
    assert_eq!(
        warned.iter().map(fields).collect::<Vec<_>>(),
        [expected.each_ref().map(String::as_str); 2]
    );
    assert_eq!(
        log.lines(Level::DEBUG, TARGET_FLUSH).len(),
        1,
        "one is written"
    );
    assert_eq!(
        (counters.get(FLUSHED_EVENTS), counters.get(DUPLICATE_EVENTS)),
        (1, 2)
    );
}

async fn an_id_that_the_outbox_knows_is_warned_of_and_counted(database: &TestDatabase) {
    let db = shop::open(database).await;
    let event_id = EventId::new();
    pay_in_a_request(&db, event_id, 1).await;
    let (log, guard) = log();
    let counters = Counters::default();
    let recording = counters.record();
    pay_in_a_request(&db, event_id, 1).await;
    drop((guard, recording));
    let warned = log.lines(Level::WARN, TARGET_FLUSH);
    assert_eq!(warned.len(), 1);
    assert_eq!(
        fields(&warned[0]),
        [
            event_id.to_string().as_str(),
            "order.paid",
            "7",
            "request-7",
            "acme"
        ]
    );
    assert!(
        log.lines(Level::DEBUG, TARGET_FLUSH).is_empty(),
        "it was not written"
    );
    assert_eq!(
        (counters.get(FLUSHED_EVENTS), counters.get(DUPLICATE_EVENTS)),
        (0, 1)
    );
}

/// The query for the number of connections that have looked for known ids and wait for their
/// INSERT.
fn waiting(backend: DbBackend) -> Option<&'static str> {
    match backend {
        DbBackend::Postgres => Some(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND wait_event_type = 'Lock' AND query LIKE 'INSERT INTO bento_outbox (%'",
        ),
        DbBackend::MySql => Some(
            "SELECT count(*) FROM information_schema.processlist \
             WHERE db = DATABASE() AND info LIKE 'INSERT INTO bento_outbox (%'",
        ),
        // There is one writer at a time.
        _ => None,
    }
}

async fn an_id_written_by_two_transactions_is_claimed_once(database: &TestDatabase) {
    let db = shop::open(database).await;
    let Some(waiting) = waiting(database.backend()) else {
        return;
    };
    // The first flush of a connection also writes how the outbox is divided.
    db.transaction_async(async |tx| tx.enqueue("first", "", ""))
        .await
        .unwrap();
    let event_id = EventId::new();
    let first = db.begin().await.unwrap();
    request()
        .scope(first.scope(async { pay_as(event_id) }))
        .await;
    first.flush().await.unwrap();

    let (log, guard) = log();
    let counters = Counters::default();
    let recording = counters.record();
    let commit_first = async {
        while database.number(waiting).await == 0 {
            tokio::task::yield_now().await;
        }
        first.commit().await.unwrap();
    };
    tokio::join!(pay_in_a_request(&db, event_id, 1), commit_first);
    drop((guard, recording));
    assert_eq!(database.schemas().await, ["first", "order.paid"]);
    let warned: Vec<_> = log.lines(Level::WARN, TARGET_FLUSH);
    let counted = (counters.get(FLUSHED_EVENTS), counters.get(DUPLICATE_EVENTS));
    if database.is(DbBackend::MySql) {
        assert_eq!(
            (warned.len(), counted),
            (0, (2, 0)),
            "the statement does not tell that the id was known"
        );
    } else {
        assert_eq!((warned.len(), counted), (1, (1, 1)));
        assert_eq!(warned[0]["event_id"], event_id.to_string());
    }
}

async fn an_event_flushed_after_a_cancelled_flush_is_written_once(database: &TestDatabase) {
    let db = shop::open(database).await;
    db.transaction_async(async |tx| tx.enqueue("first", "", ""))
        .await
        .unwrap();
    let (log, guard) = log();
    let counters = Counters::default();
    let recording = counters.record();
    for polls in 1..=10 {
        let tx = db.begin().await.unwrap();
        tx.scope(async { Order::place(polls).insert(&tx).await })
            .await
            .unwrap();
        {
            let mut flush = Box::pin(tx.flush());
            for _ in 0..polls {
                if (&mut flush).now_or_never().is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        tx.keep_pending().unwrap();
        tx.commit().await.unwrap();
    }
    drop((guard, recording));
    assert_eq!(log.lines(Level::WARN, TARGET_FLUSH), [], "no id was chosen");
    assert_eq!(log.lines(Level::DEBUG, TARGET_FLUSH).len(), 10);
    assert_eq!(
        (counters.get(FLUSHED_EVENTS), counters.get(DUPLICATE_EVENTS)),
        (10, 0)
    );
    assert_eq!(database.outbox().await.len(), 11);
}

async fn forgotten_events_are_warned_of_with_the_line_of_the_raise(database: &TestDatabase) {
    let db = shop::open(database).await;
    let (log, guard) = log();
    let counters = Counters::default();
    let recording = counters.record();
    drop(Order::place(1));
    let place_only = async |_: &OutboxTransaction| {
        drop(Order::place(2));
        Ok::<_, DbErr>(())
    };
    db.transaction_async(place_only).await.unwrap();
    drop((guard, recording));
    let lines = log.lines(Level::WARN, TARGET_RAISE);
    assert_eq!(lines.len(), 1, "raised in a scope it is published");
    assert_eq!(lines[0]["event_type"], "order.placed");
    assert!(lines[0]["raised_at"].contains("shop.rs:"), "{lines:?}");
    assert_eq!(
        counters.get_labelled(FORGOTTEN_EVENTS, "event_type", "order.placed"),
        1
    );
}

async fn the_outer_connection_inside_its_own_scope_is_warned_of(database: &TestDatabase) {
    let db = shop::open(database).await;
    let other = OutboxConnection::new(database.connect(1).await);
    let select = Statement::from_string(database.backend(), "SELECT 1");
    let (log, guard) = log();
    db.transaction_async(async |tx| {
        tx.execute_unprepared("SELECT 1").await?;
        db.inner().execute_unprepared("SELECT 1").await?;
        other.execute_unprepared("SELECT 1").await
    })
    .await
    .unwrap();
    db.execute_unprepared("SELECT 1").await.unwrap();
    assert_eq!(
        log.lines(Level::WARN, TARGET_FLUSH),
        [],
        "none of these is the outer connection in its scope"
    );
    db.transaction_async(async |_| db.query_one_raw(select.clone()).await.map(drop))
        .await
        .unwrap();
    drop(guard);
    let lines = log.lines(Level::WARN, TARGET_FLUSH);
    assert_eq!(lines.len(), 1);
    let message = &lines[0]["message"];
    assert!(
        message.contains("outer connection")
            && message.contains("use the transaction, or `inner()`"),
        "{message}"
    );
}
