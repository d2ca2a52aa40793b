//! Events raised in the scope of a transaction share its fate.

use bento_seaorm::{Error, TransactionError};
use sea_orm::DbErr;

use crate::shop::{self, Order, is_untouched, orders};
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(a_commit_writes_what_was_raised, a_rollback_writes_nothing);

async fn a_commit_writes_what_was_raised(database: &TestDatabase) {
    let db = shop::open(database).await;
    db.transaction_async(async |tx| {
        let mut order = Order::place(1);
        order.insert(tx).await?;
        order.pay();
        Ok::<_, DbErr>(())
    })
    .await
    .unwrap();
    assert_eq!(orders(database).await, [1]);
    assert_eq!(database.schemas().await, ["order.placed", "order.paid"]);
}

async fn a_rollback_writes_nothing(database: &TestDatabase) {
    let db = shop::open(database).await;
    let result = db
        .transaction_async(async |tx| {
            Order::place(1).insert(tx).await?;
            Err::<(), _>(Error::from(DbErr::Custom("changed my mind".into())))
        })
        .await;
    assert!(matches!(result, Err(TransactionError::Transaction(_))));
    assert!(is_untouched(database).await);
}
