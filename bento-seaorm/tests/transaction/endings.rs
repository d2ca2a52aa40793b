//! However a transaction ends without a commit, nothing is written, nothing panics, and the
//! connection is as good as new.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bento_seaorm::{Error, OutboxConnection};
use futures_util::{FutureExt as _, TryStreamExt as _};
use sea_orm::{ConnectionTrait, DbErr, Statement, StreamTrait};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::shop::{self, Order, is_untouched, orders, slow};
use crate::support::proxy::Proxy;
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    a_dropped_transaction_writes_nothing,
    a_panic_in_the_closure_writes_nothing,
    a_timeout_around_the_transaction_writes_nothing,
    losing_a_select_writes_nothing,
    a_transaction_dropped_during_a_statement_is_rolled_back,
    a_child_dropped_beside_a_running_statement_is_rolled_back,
    a_transaction_dropped_with_an_open_stream_is_rolled_back,
    a_stream_dropped_before_its_first_row_costs_no_connection,
    a_failed_flush_writes_nothing_and_reaches_the_caller,
    a_cancelled_commit_writes_all_or_nothing,
    a_cancelled_statement_leaves_the_connection_usable,
    a_retry_after_a_rollback_publishes_what_was_collected,
);

/// With one connection in the pool: it must come back, and clean.
async fn one_connection(database: &TestDatabase) -> OutboxConnection {
    shop::create_tables(&database.db).await;
    OutboxConnection::new(database.connect(1).await)
}

async fn is_usable(db: &OutboxConnection, database: &TestDatabase) {
    assert!(is_untouched(database).await);
    db.transaction_async(async |tx| Order::place(99).insert(tx).await)
        .await
        .unwrap();
    assert_eq!(orders(database).await, [99]);
    assert_eq!(database.schemas().await, ["order.placed"]);
}

async fn a_dropped_transaction_writes_nothing(database: &TestDatabase) {
    let db = one_connection(database).await;
    let mut order = Order::place(1);
    let tx = db.begin().await.unwrap();
    tx.collect(&mut order).unwrap();
    order.insert(&tx).await.unwrap();
    tx.flush().await.unwrap();
    drop(tx);
    assert_eq!(order.take().len(), 1, "its event is back");
    is_usable(&db, database).await;
}

async fn a_panic_in_the_closure_writes_nothing(database: &TestDatabase) {
    let db = one_connection(database).await;
    let work = db.transaction_async(async |tx| {
        Order::place(1).insert(tx).await?;
        tx.flush().await?;
        assert!(std::hint::black_box(false), "something is wrong in here");
        Ok::<_, Error>(())
    });
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .expect_err("it panics");
    is_usable(&db, database).await;
}

async fn a_timeout_around_the_transaction_writes_nothing(database: &TestDatabase) {
    let db = one_connection(database).await;
    let work = db.transaction_async(async |tx| {
        Order::place(1).insert(tx).await?;
        tx.flush().await?;
        tx.execute_unprepared(slow(database.backend())).await?;
        Ok::<_, Error>(())
    });
    timeout(Duration::from_millis(100), work)
        .await
        .expect_err("the statement takes longer");
    is_usable(&db, database).await;
}

async fn losing_a_select_writes_nothing(database: &TestDatabase) {
    let db = one_connection(database).await;
    let inserted = Notify::new();
    let work = db.transaction_async(async |tx| {
        let nested = tx.begin().await?;
        Order::place(1).insert(&nested).await?;
        inserted.notify_one();
        std::future::pending::<Result<(), Error>>().await
    });
    tokio::select! {
        _ = work => unreachable!("it never ends"),
        () = inserted.notified() => {}
    }
    is_usable(&db, database).await;
}

async fn a_transaction_dropped_during_a_statement_is_rolled_back(database: &TestDatabase) {
    let db = one_connection(database).await;
    let tx = db.begin().await.unwrap();
    Order::place(1).insert(&tx).await.unwrap();
    {
        let statement = tx.execute_unprepared(slow(database.backend()));
        timeout(Duration::from_millis(20), statement)
            .await
            .expect_err("it takes longer");
    }
    drop(tx);
    is_usable(&db, database).await;
}

/// SeaORM's nested transaction panics here: "Dropping a locked Transaction".
async fn a_child_dropped_beside_a_running_statement_is_rolled_back(database: &TestDatabase) {
    let db = one_connection(database).await;
    let tx = db.begin().await.unwrap();
    let child = tx.begin().await.unwrap();
    child
        .scope(async { Order::place(1).insert(&child).await })
        .await
        .unwrap();
    let mut running = tx.execute_unprepared(slow(database.backend()));
    assert!(
        timeout(Duration::from_millis(20), &mut running)
            .await
            .is_err(),
        "it takes longer"
    );
    drop(child);
    (&mut running).await.unwrap();
    drop(running);
    tx.commit().await.unwrap();
    is_usable(&db, database).await;
}

async fn a_transaction_dropped_with_an_open_stream_is_rolled_back(database: &TestDatabase) {
    let db = one_connection(database).await;
    let tx = db.begin().await.unwrap();
    let child = tx.begin().await.unwrap();
    for id in 1..=3 {
        Order::place(id).insert(&child).await.unwrap();
    }
    let all = Statement::from_string(database.backend(), "SELECT id FROM orders");
    let mut rows = child.stream_raw(all).await.unwrap();
    assert!(rows.try_next().await.unwrap().is_some());
    drop(tx);
    drop(rows);
    drop(child);
    is_usable(&db, database).await;
}

async fn a_stream_dropped_before_its_first_row_costs_no_connection(database: &TestDatabase) {
    shop::create_tables(&database.db).await;
    let proxy = Proxy::before(database.url(), Duration::from_millis(20)).await;
    let db = OutboxConnection::new(crate::support::connect(proxy.url(), 1).await);
    let tx = db.begin().await.unwrap();
    let select = "SELECT id AS never_asked_before FROM orders";
    let select = Statement::from_string(database.backend(), select);
    {
        let mut rows = tx.stream_raw(select).await.unwrap();
        let first = timeout(Duration::from_millis(5), rows.try_next());
        let _ = first.await;
    }
    if database.is(sea_orm::DbBackend::MySql) {
        let next = tx.execute_unprepared("SELECT 1");
        let next = timeout(Duration::from_secs(5), next).await;
        next.expect("it is answered")
            .expect_err("the transaction is over");
    }
    let ended = timeout(Duration::from_secs(5), tx.rollback()).await;
    ended.expect("the rollback does not hang").unwrap();
    let usable = timeout(Duration::from_secs(5), is_usable(&db, database)).await;
    usable.expect("the pool has its connection");
}

async fn a_failed_flush_writes_nothing_and_reaches_the_caller(database: &TestDatabase) {
    let db = one_connection(database).await;
    let refused = db
        .transaction_async(async |tx| {
            Order::place(1).insert(tx).await?;
            tx.enqueue("audit", &"k".repeat(4_000), "{}")
        })
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("has 4000 characters and may have 255"),
        "{refused}"
    );
    is_usable(&db, database).await;
}

async fn a_cancelled_commit_writes_all_or_nothing(database: &TestDatabase) {
    let db = one_connection(database).await;
    for id in 1..=10 {
        let mut order = Order::place(id);
        let tx = db.begin().await.unwrap();
        tx.collect(&mut order).unwrap();
        order.insert(&tx).await.unwrap();
        let mut commit = Box::pin(tx.commit());
        for _ in 0..id {
            if (&mut commit).now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(commit);
        // The pool has one connection: when it is here again, all that was sent on it is done.
        db.transaction_async(async |_| Ok::<_, DbErr>(()))
            .await
            .unwrap();
        let is_written = orders(database).await.contains(&id);
        let is_raised = database
            .outbox()
            .await
            .iter()
            .any(|row| row.aggregate_id == id.to_string());
        assert_eq!(is_written, is_raised, "cancelled after {id} polls");
        order.take();
    }
}

async fn a_retry_after_a_rollback_publishes_what_was_collected(database: &TestDatabase) {
    let db = shop::open(database).await;
    let mut order = Order::place(1);
    for attempt in 1..=3 {
        let tx = db.begin().await.unwrap();
        tx.collect(&mut order).unwrap();
        order.insert(&tx).await.unwrap();
        match attempt {
            1 => tx.rollback().await.unwrap(),
            2 => drop(tx),
            _ => tx.commit().await.unwrap(),
        }
    }
    assert_eq!(orders(database).await, [1]);
    assert_eq!(database.schemas().await, ["order.placed"]);
    assert!(order.take().is_empty());
}

/// The driver of MySQL loses count of the answers when a statement is dropped while it is prepared.
async fn a_cancelled_statement_leaves_the_connection_usable(database: &TestDatabase) {
    let db = one_connection(database).await;
    for polls in 1..=10 {
        let tx = db.begin().await.unwrap();
        let nested = tx.begin().await.unwrap();
        {
            let order = Order {
                id: polls,
                total: 1,
                events: Default::default(),
            };
            let mut insert = Box::pin(order.insert(&nested));
            for _ in 0..polls {
                if (&mut insert).now_or_never().is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        nested.rollback().await.unwrap();
        tx.scope(async { Order::place(100 + polls).insert(&tx).await })
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
    assert_eq!(orders(database).await, (101..=110).collect::<Vec<_>>());
    assert_eq!(database.outbox().await.len(), 10);
}
