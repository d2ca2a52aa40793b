//! A failed statement that the caller swallowed: no event is published without its row, none is
//! lost without an error.

use std::time::Duration;

use bento_core::raise;
use bento_core::unit_of_work::FrameError;
use bento_seaorm::{Error, OutboxTransaction, TransactionError, bento_error};
use futures_util::TryStreamExt as _;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement, StreamTrait};
use tokio::time::timeout;

use crate::shop::{self, Order, REFUSED, ShopOpened, is_untouched, item, order, orders, slow};
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    a_swallowed_failure_after_an_event_is_refused,
    a_savepoint_around_what_may_fail_is_the_way_out,
    keeping_pending_events_publishes_them_or_says_why_not,
    discarding_pending_events_leaves_the_rest_of_the_transaction,
    a_failure_before_any_event_loses_none,
    an_event_flushed_before_a_failure_is_not_taken_for_committed,
    a_failed_save_of_a_nested_model_is_a_failed_statement,
    a_cancelled_statement_counts_as_failed,
    a_failed_row_of_a_stream_counts_as_failed,
    a_stream_that_is_not_read_to_its_end_is_no_failure,
    a_failed_statement_in_a_savepoint_stays_in_it,
    a_savepoint_on_a_failed_transaction_is_an_error_or_works,
    an_ended_transaction_writes_nothing_outside_of_itself,
);

fn opened() -> ShopOpened {
    ShopOpened {
        name: "corner".into(),
    }
}

fn is_doubtful<T>(result: Result<T, TransactionError<DbErr>>) -> bool {
    matches!(
        result,
        Err(TransactionError::Connection(Error::Frame(
            FrameError::Doubtful { events: 1, .. }
        )))
    )
}

async fn swallow(tx: &OutboxTransaction) {
    tx.execute_unprepared(REFUSED).await.unwrap_err();
}

async fn a_swallowed_failure_after_an_event_is_refused(database: &TestDatabase) {
    let db = shop::open(database).await;
    Order::place(1).insert(&database.db).await.unwrap();
    let refused = db
        .transaction_async(async |tx| {
            Order::place(1)
                .insert(tx)
                .await
                .expect_err("there is an order 1");
            Ok(())
        })
        .await;
    assert!(is_doubtful(refused));
    assert!(database.outbox().await.is_empty());
}

async fn a_savepoint_around_what_may_fail_is_the_way_out(database: &TestDatabase) {
    let db = shop::open(database).await;
    db.transaction_async(async |tx| {
        Order::place(1).insert(tx).await?;
        let again = tx
            .transaction_async(async |nested| Order::place(1).insert(nested).await)
            .await;
        assert!(matches!(again, Err(TransactionError::Transaction(_))));
        Ok::<_, DbErr>(())
    })
    .await
    .unwrap();
    assert_eq!(database.schemas().await, ["order.placed"]);
}

async fn keeping_pending_events_publishes_them_or_says_why_not(database: &TestDatabase) {
    let db = shop::open(database).await;
    let result = db
        .transaction_async(async |tx| {
            Order::place(1).insert(tx).await?;
            swallow(tx).await;
            tx.keep_pending()?;
            Ok::<_, Error>(())
        })
        .await;
    if database.is(DbBackend::Postgres) {
        let refused = result.unwrap_err();
        assert!(
            matches!(refused, TransactionError::Connection(Error::Aborted { .. })),
            "{refused}"
        );
        assert!(is_untouched(database).await);
    } else {
        result.unwrap();
        assert_eq!(orders(database).await, [1]);
        assert_eq!(database.schemas().await, ["order.placed"]);
    }
}

async fn discarding_pending_events_leaves_the_rest_of_the_transaction(database: &TestDatabase) {
    let db = shop::open(database).await;
    let result = db
        .transaction_async(async |tx| {
            Order::place(1).insert(tx).await?;
            swallow(tx).await;
            tx.discard_pending()?;
            Ok::<_, Error>(())
        })
        .await;
    if database.is(DbBackend::Postgres) {
        // Left to itself PostgreSQL rolls the order back and the driver reports a successful
        // commit.
        assert!(matches!(
            result,
            Err(TransactionError::Connection(Error::Aborted { .. }))
        ));
        assert!(is_untouched(database).await);
    } else {
        result.unwrap();
        assert_eq!(orders(database).await, [1]);
        assert!(database.outbox().await.is_empty());
    }
}

async fn a_failure_before_any_event_loses_none(database: &TestDatabase) {
    let db = shop::open(database).await;
    let mut order = Order::place(1);
    let tx = db.begin().await.unwrap();
    swallow(&tx).await;
    tx.collect(&mut order).unwrap();
    let result = tx.commit().await;
    if database.is(DbBackend::Postgres) {
        assert!(matches!(result, Err(Error::Aborted { .. })), "{result:?}");
        assert!(is_untouched(database).await);
        assert_eq!(order.take().len(), 1, "its event is back");
    } else {
        result.unwrap();
        assert_eq!(database.schemas().await, ["order.placed"]);
    }
}

async fn an_event_flushed_before_a_failure_is_not_taken_for_committed(database: &TestDatabase) {
    let db = shop::open(database).await;
    let mut order = Order::place(1);
    let tx = db.begin().await.unwrap();
    tx.collect(&mut order).unwrap();
    tx.flush().await.unwrap();
    swallow(&tx).await;
    tx.keep_pending().unwrap();
    let result = tx.commit().await;
    if database.is(DbBackend::Postgres) {
        assert!(matches!(result, Err(Error::Aborted { .. })), "{result:?}");
        assert!(database.outbox().await.is_empty());
        assert_eq!(order.take().len(), 1, "its event is back");
    } else {
        result.unwrap();
        assert_eq!(database.schemas().await, ["order.placed"]);
    }
}

/// `ActiveModelEx` opens a savepoint of its own, which the caller does not see.
async fn a_failed_save_of_a_nested_model_is_a_failed_statement(database: &TestDatabase) {
    let db = shop::open(database).await;
    let graph = |id| order::ActiveModel::builder().set_id(id).set_total(1);
    let taken = || item::ActiveModel::builder().set_name("taken");
    graph(1)
        .add_item(taken())
        .insert(&database.db)
        .await
        .unwrap();
    let refused = db
        .transaction_async(async |tx| {
            Order::place(2);
            graph(2)
                .add_item(taken())
                .insert(tx)
                .await
                .expect_err("the name is taken");
            Ok(())
        })
        .await;
    assert!(is_doubtful(refused));
    assert_eq!(orders(database).await, [1]);
    assert!(database.outbox().await.is_empty());
}

async fn a_cancelled_statement_counts_as_failed(database: &TestDatabase) {
    let db = shop::open(database).await;
    let refused = db
        .transaction_async(async |tx| {
            raise(opened()).unwrap();
            let statement = tx.execute_unprepared(slow(database.backend()));
            timeout(Duration::from_millis(50), statement)
                .await
                .expect_err("it takes longer");
            Ok(())
        })
        .await;
    assert!(is_doubtful(refused));
    assert!(database.outbox().await.is_empty());
}

/// Fails at its third row.
fn fails_late(backend: DbBackend) -> Statement {
    let sql = match backend {
        DbBackend::Postgres => "SELECT 1 / (3 - n) FROM generate_series(1, 5) AS n",
        DbBackend::MySql => {
            "SELECT CASE WHEN n = 3 THEN (SELECT 1 UNION SELECT 2) ELSE n END FROM (SELECT 1 AS n \
             UNION SELECT 2 UNION SELECT 3) AS numbers"
        }
        _ => {
            "SELECT CASE WHEN n = 3 THEN json('not json') ELSE n END FROM (SELECT 1 AS n UNION \
             SELECT 2 UNION SELECT 3)"
        }
    };
    Statement::from_string(backend, sql)
}

async fn a_failed_row_of_a_stream_counts_as_failed(database: &TestDatabase) {
    let db = shop::open(database).await;
    let refused = db
        .transaction_async(async |tx| {
            raise(opened()).unwrap();
            let rows = tx.stream_raw(fails_late(database.backend())).await?;
            rows.try_collect::<Vec<_>>()
                .await
                .expect_err("the third row fails");
            Ok(())
        })
        .await;
    assert!(is_doubtful(refused));
}

async fn a_stream_that_is_not_read_to_its_end_is_no_failure(database: &TestDatabase) {
    let db = shop::open(database).await;
    db.transaction_async(async |tx| {
        for id in 1..=3 {
            Order::place(id).insert(tx).await?;
        }
        let all = Statement::from_string(database.backend(), "SELECT id FROM orders");
        let mut rows = tx.stream_raw(all).await?;
        assert!(rows.try_next().await?.is_some());
        drop(rows);
        Order::place(4).insert(tx).await
    })
    .await
    .unwrap();
    assert_eq!(orders(database).await, [1, 2, 3, 4]);
    assert_eq!(database.outbox().await.len(), 4);
}

async fn a_failed_statement_in_a_savepoint_stays_in_it(database: &TestDatabase) {
    let db = shop::open(database).await;
    db.transaction_async(async |tx| {
        raise(opened()).unwrap();
        let nested = tx.begin().await?;
        raise(opened()).unwrap();
        swallow(&nested).await;
        nested
            .commit()
            .await
            .expect_err("the event inside is doubtful");
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
    assert_eq!(database.schemas().await, ["shop.opened"]);
}

/// SeaORM's own nested transaction rolls the outer one back when its SAVEPOINT fails, and what
/// follows is committed statement by statement.
async fn a_savepoint_on_a_failed_transaction_is_an_error_or_works(database: &TestDatabase) {
    let db = shop::open(database).await;
    let result = db
        .transaction_async(async |tx| {
            swallow(tx).await;
            if let Ok(nested) = tx.begin().await {
                nested.commit().await?;
            }
            Order::place(1).insert(tx).await?;
            Err::<(), _>(Error::from(DbErr::Custom("changed my mind".into())))
        })
        .await;
    assert!(matches!(result, Err(TransactionError::Transaction(_))));
    assert!(is_untouched(database).await);
}

/// Ends the transaction from within, as far as the back end can do that.
async fn end_from_within(database: &TestDatabase, tx: &OutboxTransaction) {
    match database.backend() {
        DbBackend::Sqlite => {
            tx.execute_unprepared("INSERT INTO orders (id, total) VALUES (1, 1)")
                .await
                .unwrap();
            tx.execute_unprepared("INSERT OR ROLLBACK INTO orders (id, total) VALUES (1, 1)")
                .await
                .unwrap_err();
        }
        DbBackend::MySql => be_chosen_in_a_deadlock(database, tx).await,
        _ => swallow(tx).await,
    }
}

/// Waits in a circle with a transaction that has more to undo, so that the server chooses ours.
async fn be_chosen_in_a_deadlock(database: &TestDatabase, tx: &OutboxTransaction) {
    use sea_orm::TransactionTrait as _;
    let insert = "INSERT INTO orders (id, total) VALUES (101, 1), (102, 1), (103, 1), (104, 1), \
                  (105, 1), (106, 1)";
    database
        .db
        .execute_unprepared("INSERT INTO orders (id, total) VALUES (1, 1), (2, 1)")
        .await
        .unwrap();
    let other = database.db.begin().await.unwrap();
    other.execute_unprepared(insert).await.unwrap();
    other
        .execute_unprepared("UPDATE orders SET total = 2 WHERE id = 1")
        .await
        .unwrap();
    tx.execute_unprepared("UPDATE orders SET total = 3 WHERE id = 2")
        .await
        .unwrap();
    let wait_for_us = other.execute_unprepared("UPDATE orders SET total = 2 WHERE id = 2");
    let wait_for_them = tx.execute_unprepared("UPDATE orders SET total = 3 WHERE id = 1");
    let (theirs, ours) = tokio::join!(wait_for_us, wait_for_them);
    theirs.unwrap();
    ours.expect_err("the server chose this one");
    other.rollback().await.unwrap();
    database
        .db
        .execute_unprepared("DELETE FROM orders")
        .await
        .unwrap();
}

async fn an_ended_transaction_writes_nothing_outside_of_itself(database: &TestDatabase) {
    let db = shop::open(database).await;
    let tx = db.begin().await.unwrap();
    end_from_within(database, &tx).await;
    let refused = Order::place(7)
        .insert(&tx)
        .await
        .expect_err("there is no transaction to write it in");
    if !database.is(DbBackend::Postgres) {
        assert!(
            matches!(bento_error(&refused), Some(Error::Aborted { .. })),
            "{refused}"
        );
    }
    let mut order = Order::place(8);
    tx.collect(&mut order).unwrap();
    let refused = tx.commit().await.unwrap_err();
    assert!(matches!(refused, Error::Aborted { .. }), "{refused}");
    assert!(is_untouched(database).await);
    assert_eq!(order.take().len(), 1, "its event is back");

    for id in 1..=6 {
        db.transaction_async(async |tx| Order::place(id).insert(tx).await)
            .await
            .unwrap();
    }
    assert_eq!(
        database.outbox().await.len(),
        6,
        "the connection is as good as new"
    );
}
