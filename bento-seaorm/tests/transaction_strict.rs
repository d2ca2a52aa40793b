//! Panics under `strict`, where production only logs. `strict` holds for a whole process, so these
//! tests are on their own.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub
)]

#[path = "transaction/shop.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod shop;
mod support;

use std::panic::AssertUnwindSafe;

use bento_core::pending;
use bento_seaorm::OutboxConnection;
use futures_util::FutureExt as _;
use sea_orm::{ConnectionTrait, DbErr};

use crate::shop::{Order, is_untouched};
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    the_outer_connection_inside_its_own_scope_panics,
    another_connection_inside_the_scope_is_fine,
    forgetting_pending_events_panics,
    forgetting_pending_events_during_a_panic_does_not_abort,
    pending_events_that_were_rolled_back_are_not_forgotten,
);

async fn the_outer_connection_inside_its_own_scope_panics(database: &TestDatabase) {
    pending::set_strict(true);
    let db = shop::open(database).await;
    let work = db.transaction_async(async |_| db.execute_unprepared("SELECT 1").await);
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .expect_err("it panics");
    let work = db.transaction_async(async |_| db.begin().await.map(drop));
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .expect_err("it panics");
    db.transaction_async(async |_| db.inner().execute_unprepared("SELECT 1").await)
        .await
        .unwrap();
}

async fn another_connection_inside_the_scope_is_fine(database: &TestDatabase) {
    pending::set_strict(true);
    let db = shop::open(database).await;
    let other = OutboxConnection::new(database.connect(1).await);
    db.transaction_async(async |_| other.execute_unprepared("SELECT 1").await)
        .await
        .unwrap();
}

async fn forgetting_pending_events_panics(_: &TestDatabase) {
    pending::set_strict(true);
    let forget = || drop(Order::place(1));
    let panic = std::panic::catch_unwind(forget).expect_err("it panics");
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(
        message.contains("`order.placed` raised at") && message.contains("shop.rs:"),
        "{message}"
    );
}

async fn forgetting_pending_events_during_a_panic_does_not_abort(_: &TestDatabase) {
    pending::set_strict(true);
    let fail = || {
        let _forgotten = Order::place(1);
        panic!("something else");
    };
    let panic = std::panic::catch_unwind(fail).expect_err("it panics");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"something else"));
}

async fn pending_events_that_were_rolled_back_are_not_forgotten(database: &TestDatabase) {
    pending::set_strict(true);
    let db = shop::open(database).await;
    let mut order = Order::place(1);
    let tx = db.begin().await.unwrap();
    tx.collect(&mut order).unwrap();
    order.insert(&tx).await.unwrap();
    tx.rollback().await.unwrap();
    drop(order);
    let result = db
        .transaction_async(async |_| Err::<(), _>(DbErr::Custom(String::new())))
        .await;
    assert!(result.is_err());
    assert!(is_untouched(database).await);
}
