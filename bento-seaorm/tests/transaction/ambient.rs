//! Events raised in the scope of a transaction share its fate.

use bento_core::unit_of_work::FrameError;
use bento_core::{Metadata, raise, raise_with};
use bento_seaorm::{Error, OutboxTransaction, TransactionError};
use sea_orm::DbErr;
use tokio::join;

use crate::shop::{self, Order, ShopOpened, is_untouched, orders};
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    a_commit_writes_what_was_raised,
    a_rollback_writes_nothing,
    a_boxed_closure_has_the_scope_too,
    a_hand_begun_transaction_has_a_scope_where_it_is_said,
    join_sees_the_scope,
    a_spawned_task_sees_the_scope_if_it_carries_the_unit_of_work,
    an_event_free_of_an_aggregate_is_written,
    bytes_without_a_type_are_written_by_the_same_flush,
    raising_publishes_even_if_the_aggregate_is_never_saved,
    several_flushes_in_one_transaction_write_each_event_once,
    a_flush_is_undone_by_a_rollback,
    the_envelope_has_the_metadata_of_the_scope,
    a_transaction_bound_to_a_tenant_refuses_another,
    a_transaction_of_one_tenant_is_not_bound_to_another,
    a_known_event_id_is_written_once,
);

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
    let row = database.outbox().await.swap_remove(0);
    assert_eq!(
        (row.aggregate_type.as_str(), row.aggregate_id.as_str()),
        ("order", "1")
    );
    assert_eq!(row.payload, r#"{"total":42}"#);
}

async fn a_rollback_writes_nothing(database: &TestDatabase) {
    let db = shop::open(database).await;
    let result = db
        .transaction_async(async |tx| {
            Order::place(1).insert(tx).await?;
            Err::<(), _>(Error::from(DbErr::Custom("changed my mind".into())))
        })
        .await;
    assert!(matches!(
        result,
        Err(TransactionError::Transaction(Error::Database(
            DbErr::Custom(_)
        )))
    ));
    assert!(is_untouched(database).await);

    let tx = db.begin().await.unwrap();
    tx.scope(async { Order::place(1).insert(&tx).await })
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    assert!(is_untouched(database).await);
}

async fn a_boxed_closure_has_the_scope_too(database: &TestDatabase) {
    fn place(
        tx: &OutboxTransaction,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), DbErr>> + Send + '_>> {
        Box::pin(async move { Order::place(1).insert(tx).await })
    }
    let db = shop::open(database).await;
    db.transaction(place).await.unwrap();
    assert_eq!(database.schemas().await, ["order.placed"]);
}

async fn a_hand_begun_transaction_has_a_scope_where_it_is_said(database: &TestDatabase) {
    let db = shop::open(database).await;
    let tx = db.begin().await.unwrap();
    assert!(
        raise(ShopOpened {
            name: "outside".into()
        })
        .is_err()
    );
    tx.scope(async {
        raise(ShopOpened {
            name: "inside".into(),
        })
    })
    .await
    .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(database.schemas().await, ["shop.opened"]);
}

async fn join_sees_the_scope(database: &TestDatabase) {
    let db = shop::open(database).await;
    db.transaction_async(async |tx| {
        let place = async |id| Order::place(id).insert(tx).await;
        let (first, second) = join!(place(1), place(2));
        first.and(second)
    })
    .await
    .unwrap();
    assert_eq!(database.schemas().await, ["order.placed", "order.placed"]);
}

async fn a_spawned_task_sees_the_scope_if_it_carries_the_unit_of_work(database: &TestDatabase) {
    let db = shop::open(database).await;
    db.transaction_async(async |tx| {
        let unit_of_work = tx.unit_of_work().clone();
        let named = |name: &str| ShopOpened { name: name.into() };
        let without = tokio::spawn(async move { raise(named("without")).is_err() });
        let with = tokio::spawn(async move {
            unit_of_work
                .scope(async { raise(named("with")) })
                .await
                .is_ok()
        });
        assert!(without.await.unwrap() && with.await.unwrap());
        Ok::<_, DbErr>(())
    })
    .await
    .unwrap();
    assert_eq!(database.outbox().await[0].payload, r#"{"name":"with"}"#);
}

async fn an_event_free_of_an_aggregate_is_written(database: &TestDatabase) {
    let db = shop::open(database).await;
    db.transaction_async(async |_| {
        raise(ShopOpened {
            name: "corner".into(),
        })
    })
    .await
    .unwrap();
    let row = database.outbox().await.swap_remove(0);
    assert_eq!(
        (row.aggregate_type.as_str(), row.aggregate_id.as_str()),
        ("", "")
    );
}

async fn bytes_without_a_type_are_written_by_the_same_flush(database: &TestDatabase) {
    let db = shop::open(database).await;
    db.transaction_async(async |tx| {
        Order::place(1).insert(tx).await?;
        tx.enqueue("audit", "order-1", "anything")
    })
    .await
    .unwrap();
    let row = database.outbox().await.swap_remove(1);
    assert_eq!(
        (row.event_type.as_str(), row.aggregate_id.as_str()),
        ("audit", "order-1")
    );
    assert_eq!(row.payload, "anything");
}

async fn raising_publishes_even_if_the_aggregate_is_never_saved(database: &TestDatabase) {
    let db = shop::open(database).await;
    let place_only = async |_: &OutboxTransaction| {
        Order::place(1);
        Ok::<_, DbErr>(())
    };
    db.transaction_async(place_only).await.unwrap();
    assert!(orders(database).await.is_empty());
    assert_eq!(database.schemas().await, ["order.placed"]);
}

async fn several_flushes_in_one_transaction_write_each_event_once(database: &TestDatabase) {
    let db = shop::open(database).await;
    db.transaction_async(async |tx| {
        let mut order = Order::place(1);
        order.insert(tx).await?;
        tx.flush().await?;
        order.pay();
        tx.flush().await?;
        tx.flush().await?;
        order.pay();
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
    assert_eq!(
        database.schemas().await,
        ["order.placed", "order.paid", "order.paid"]
    );
}

async fn a_flush_is_undone_by_a_rollback(database: &TestDatabase) {
    let db = shop::open(database).await;
    let mut order = Order::place(1);
    let tx = db.begin().await.unwrap();
    tx.collect(&mut order).unwrap();
    tx.flush().await.unwrap();
    tx.rollback().await.unwrap();
    assert!(is_untouched(database).await);
    assert_eq!(order.take().len(), 1, "its event is back");
}

async fn the_envelope_has_the_metadata_of_the_scope(database: &TestDatabase) {
    let db = shop::open(database).await;
    let mut metadata = Metadata::default();
    metadata.tenant_id = Some("acme".into());
    metadata.correlation_id = Some("request-7".into());
    metadata.actor = Some("ann".into());
    metadata.headers.insert("traceparent".into(), "00-1".into());
    let opened = |name: &str| ShopOpened { name: name.into() };
    let work = db.transaction_async(async |_| {
        raise(opened("plain"))?;
        raise_with(opened("adjusted"), |metadata| {
            metadata.with_causation("command-1")
        })
    });
    metadata.scope(work).await.unwrap();
    let rows = database.outbox().await;
    assert_eq!(rows[0].tenant_id.as_deref(), Some("acme"));
    let headers = r#"{"correlation_id":"request-7","actor":"ann","traceparent":"00-1"}"#;
    assert_eq!(rows[0].headers, headers);
    assert!(
        rows[1].headers.contains(r#""causation_id":"command-1""#),
        "{}",
        rows[1].headers
    );
}

async fn a_transaction_bound_to_a_tenant_refuses_another(database: &TestDatabase) {
    let db = shop::open(database).await;
    let refused = db
        .transaction_async(async |tx| {
            tx.bind_tenant("acme").unwrap();
            Order::place(1).insert(tx).await?;
            raise_with(
                ShopOpened {
                    name: "other".into(),
                },
                |metadata| metadata.with_tenant("other"),
            )
            .unwrap();
            Ok::<_, DbErr>(())
        })
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("is of tenant `other`"),
        "{refused}"
    );
    assert!(is_untouched(database).await);
}

async fn a_transaction_of_one_tenant_is_not_bound_to_another(database: &TestDatabase) {
    let db = shop::open(database).await;
    let acme = bento_core::Metadata::default().with_tenant("acme");
    let tx = acme.scope(db.begin()).await.unwrap();
    tx.bind_tenant("acme").expect("it is bound to it already");
    let refused = tx.bind_tenant("other").unwrap_err();
    let Error::Frame(FrameError::OtherTenant { bound, wanted }) = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!((bound.as_str(), wanted.as_str()), ("acme", "other"));
    tx.scope(async {
        raise(ShopOpened {
            name: "of acme".into(),
        })
    })
    .await
    .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        database.outbox().await[0].tenant_id.as_deref(),
        Some("acme")
    );

    let tx = db.begin().await.unwrap();
    tx.bind_tenant("first").unwrap();
    let nested = tx.begin().await.unwrap();
    nested.bind_tenant("second").unwrap_err();
    nested.bind_tenant("first").unwrap();
}

async fn a_known_event_id_is_written_once(database: &TestDatabase) {
    let db = shop::open(database).await;
    let id = uuid::Uuid::now_v7();
    for _ in 0..2 {
        db.transaction_async(async |_| {
            raise_with(
                ShopOpened {
                    name: "once".into(),
                },
                |metadata| metadata.with_event_id(id),
            )
        })
        .await
        .unwrap();
    }
    let rows = database.outbox().await;
    assert_eq!(
        rows.iter().map(|row| row.event_id).collect::<Vec<_>>(),
        [id]
    );
}
