//! Transactions whose aggregate is dropped with events that were not collected, by the policy of
//! the process.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub
)]

mod support;
#[path = "transaction/warehouse.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod warehouse;

use std::panic::AssertUnwindSafe;

use bento_core::ForgottenEvents;
use bento_seaorm::{Error, OutboxConnection};
use futures_util::FutureExt as _;
use sea_orm::{ActiveModelTrait, IntoActiveModel};
use tokio::sync::{Mutex, MutexGuard};

use crate::support::{TestDatabase, on_every_back_end};
use crate::warehouse::{Packed, packed, shelf};

on_every_back_end!(
    by_default_the_row_is_committed_and_its_event_lost,
    a_panic_at_begin_without_collect_rolls_the_row_back,
    a_panic_over_a_clone_that_was_saved_tells_of_the_loss,
    a_panic_in_a_spawned_task_rolls_its_transaction_back,
    a_panic_that_unwinds_already_is_not_followed_by_another,
);

/// The policy holds for the process: one test at a time.
async fn with_policy(policy: ForgottenEvents) -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    let turn = TURN.lock().await;
    policy.install();
    assert_eq!(ForgottenEvents::current(), policy);
    turn
}

fn packed_shelf() -> shelf::Model {
    let mut shelf = shelf::new("A", 1);
    shelf.raise(Packed { what: "tea".into() });
    shelf
}

async fn shelves(database: &TestDatabase) -> i64 {
    database.number("SELECT count(*) FROM shelf").await
}

/// Inserts as a service does without `tx.insert`, and leaves out `tx.collect`.
async fn insert_without_collecting(db: &OutboxConnection) -> Result<(), Error> {
    let tx = db.begin().await?;
    packed_shelf().into_active_model().insert(&tx).await?;
    tx.commit().await
}

async fn by_default_the_row_is_committed_and_its_event_lost(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let _turn = with_policy(ForgottenEvents::default()).await;
    insert_without_collecting(&db).await.unwrap();
    assert_eq!(
        (shelves(database).await, packed(database).await.len()),
        (1, 0)
    );
}

async fn a_panic_at_begin_without_collect_rolls_the_row_back(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let _turn = with_policy(ForgottenEvents::Panic).await;
    let panic = AssertUnwindSafe(insert_without_collecting(&db))
        .catch_unwind()
        .await
        .unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("`crate.packed` raised at"), "{message}");
    assert_eq!(
        (shelves(database).await, packed(database).await.len()),
        (0, 0)
    );
    db.transaction_async(async |tx| tx.insert(&mut packed_shelf()).await)
        .await
        .expect("the connection is as good as new");
    assert_eq!(
        (shelves(database).await, packed(database).await.len()),
        (1, 1)
    );
}

async fn a_panic_over_a_clone_that_was_saved_tells_of_the_loss(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let _turn = with_policy(ForgottenEvents::Panic).await;
    let work = async {
        let shelf = packed_shelf();
        let tx = db.begin().await.unwrap();
        tx.insert(&mut shelf.clone()).await.unwrap();
        drop(shelf);
        tx.commit().await.unwrap();
    };
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .expect_err("the events were with the original");
    assert_eq!(
        (shelves(database).await, packed(database).await.len()),
        (0, 0)
    );
}

async fn a_panic_in_a_spawned_task_rolls_its_transaction_back(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let _turn = with_policy(ForgottenEvents::Panic).await;
    let work = db.transaction_async(async |tx| {
        shelf::new("A", 2).into_active_model().insert(tx).await?;
        let task = tokio::spawn(async { drop(packed_shelf()) });
        task.await
            .map_err(|error| sea_orm::DbErr::Custom(error.to_string()))
    });
    work.await.expect_err("the task panicked");
    assert_eq!(
        (shelves(database).await, packed(database).await.len()),
        (0, 0)
    );
}

async fn a_panic_that_unwinds_already_is_not_followed_by_another(_: &TestDatabase) {
    let _turn = with_policy(ForgottenEvents::Panic).await;
    let fail = || {
        let _forgotten = packed_shelf();
        panic!("something else");
    };
    let panic = std::panic::catch_unwind(fail).expect_err("it panics");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"something else"));
}
