//! SeaORM's own traits on Bento's connection and transaction, from any task.

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::handler::Handler as _;
use axum::http::StatusCode;
use axum::routing::post;
use bento_core::unit_of_work::FrameError;
use bento_seaorm::{Error, OutboxConnection, OutboxTransaction, bento_error};
use futures_util::TryStreamExt as _;
use sea_orm::{
    AccessMode, ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, IsolationLevel,
    LoaderTrait, PaginatorTrait, QueryFilter, SqliteTransactionMode, Statement, StreamTrait,
    TransactionOptions, TransactionSession, TransactionTrait,
};

use crate::shop::{self, Order, is_untouched, item, order, orders};
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    entities_loaders_and_raw_sql_work_in_a_transaction,
    a_graph_of_models_is_saved_with_its_events,
    rows_are_streamed_in_a_transaction,
    generic_code_commits_by_seaorms_traits_and_sees_our_error,
    a_generic_closure_has_the_scope,
    a_closure_with_a_config_has_the_scope_and_the_config,
    a_transaction_runs_in_a_spawned_task,
    a_transaction_runs_in_a_handler_that_borrows,
    an_isolation_level_is_that_of_the_transaction,
    sqlite_begins_immediate_unless_told_otherwise,
    sqlite_refuses_a_write_on_stale_reads_at_once,
    the_outer_connection_in_its_scope_is_not_in_the_transaction,
);

fn graph(id: i64) -> order::ActiveModelEx {
    let item = |name: &str| item::ActiveModel::builder().set_name(format!("{name} {id}"));
    order::ActiveModel::builder()
        .set_id(id)
        .set_total(1)
        .add_item(item("pen"))
        .add_item(item("ink"))
}

async fn entities_loaders_and_raw_sql_work_in_a_transaction(database: &TestDatabase) {
    let db = shop::open(database).await;
    db.transaction_async(async |tx| {
        Order::place(1).insert(tx).await?;
        graph(2).insert(tx).await?;
        let all = order::Entity::find().all(tx).await?;
        let items: Vec<Vec<item::Model>> = all.load_many(item::Entity, tx).await?;
        assert_eq!(items.iter().map(Vec::len).collect::<Vec<_>>(), [0, 2]);
        let loaded = order::Entity::load()
            .filter(order::Column::Id.eq(2))
            .with(item::Entity)
            .one(tx)
            .await?;
        assert_eq!(loaded.expect("order 2").items.len(), 2);
        assert_eq!(order::Entity::find().count(tx).await?, 2);
        let raw = Statement::from_string(database.backend(), "SELECT count(*) FROM items");
        let count: i64 = tx
            .query_one_raw(raw)
            .await?
            .expect("a row")
            .try_get_by_index(0)?;
        assert_eq!(count, 2);
        Ok::<_, DbErr>(())
    })
    .await
    .unwrap();
    assert_eq!(database.schemas().await, ["order.placed"]);
}

async fn a_graph_of_models_is_saved_with_its_events(database: &TestDatabase) {
    let db = shop::open(database).await;
    let work = async |tx: &OutboxTransaction| {
        Order::place(1);
        graph(1).insert(tx).await.map(|_| ())
    };
    let rolled_back = db
        .transaction_async(async |tx| {
            work(tx).await?;
            Err::<(), _>(DbErr::Custom("changed my mind".into()))
        })
        .await;
    assert!(rolled_back.is_err());
    assert!(is_untouched(database).await);
    db.transaction_async(work).await.unwrap();
    assert_eq!(database.number("SELECT count(*) FROM items").await, 2);
    assert_eq!(database.schemas().await, ["order.placed"]);
}

async fn rows_are_streamed_in_a_transaction(database: &TestDatabase) {
    let db = shop::open(database).await;
    let tx = db.begin().await.unwrap();
    for id in 1..=3 {
        Order::place(id).insert(&tx).await.unwrap();
    }
    let rows: Vec<order::Model> = order::Entity::find()
        .stream(&tx)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(rows.len(), 3);
    tx.commit().await.unwrap();
    let all = Statement::from_string(database.backend(), "SELECT id FROM orders");
    assert_eq!(
        db.stream_raw(all)
            .await
            .unwrap()
            .try_collect::<Vec<_>>()
            .await
            .unwrap()
            .len(),
        3
    );
}

async fn place_generically<C: TransactionTrait>(db: &C, leave_open: bool) -> Result<(), DbErr> {
    let tx = db.begin().await?;
    Order::place(1).insert(&tx).await?;
    let nested = tx.begin().await?;
    let left_open = if leave_open {
        Some(nested)
    } else {
        nested.commit().await.map(|()| None)?
    };
    let result = tx.commit().await;
    drop(left_open);
    result
}

async fn generic_code_commits_by_seaorms_traits_and_sees_our_error(database: &TestDatabase) {
    let db = shop::open(database).await;
    let refused = place_generically(&db, true).await.unwrap_err();
    assert!(
        matches!(
            bento_error(&refused),
            Some(Error::Frame(FrameError::ChildOpen))
        ),
        "{refused:?}"
    );
    assert!(
        refused
            .to_string()
            .contains("a nested transaction is still open; commit it"),
        "{refused}"
    );
    assert!(is_untouched(database).await);
    place_generically(&db, false).await.unwrap();
    assert_eq!(orders(database).await, [1]);
}

async fn a_generic_closure_has_the_scope(database: &TestDatabase) {
    async fn place<C: TransactionTrait>(
        db: &C,
        id: i64,
    ) -> Result<(), sea_orm::TransactionError<DbErr>> {
        db.transaction(|tx| {
            Box::pin(async move {
                tx.transaction(|nested| {
                    Box::pin(async move { Order::place(id).insert(nested).await })
                })
                .await
                .map_err(|error: sea_orm::TransactionError<DbErr>| DbErr::Custom(error.to_string()))
            })
        })
        .await
    }
    let db = shop::open(database).await;
    place(&db, 1).await.unwrap();
    place(&db, 1).await.expect_err("there is an order 1");
    assert_eq!(database.schemas().await, ["order.placed"]);
}

async fn a_closure_with_a_config_has_the_scope_and_the_config(database: &TestDatabase) {
    async fn place<C: TransactionTrait>(
        db: &C,
        id: i64,
        mode: AccessMode,
    ) -> Result<(), sea_orm::TransactionError<DbErr>> {
        let insert = db.transaction_with_config(
            |tx| Box::pin(async move { Order::place(id).insert(tx).await }),
            None,
            Some(mode),
        );
        insert.await
    }
    let db = shop::open(database).await;
    let inherent = async |id, mode| {
        let insert = db.transaction_with_config(
            |tx| Box::pin(async move { Order::place(id).insert(tx).await }),
            None,
            Some(mode),
        );
        insert.await
    };
    place(&db, 1, AccessMode::ReadWrite).await.unwrap();
    inherent(2, AccessMode::ReadWrite).await.unwrap();
    place(&db, 2, AccessMode::ReadWrite)
        .await
        .expect_err("there is an order 2");
    inherent(1, AccessMode::ReadWrite)
        .await
        .expect_err("there is an order 1");
    assert_eq!(database.schemas().await, ["order.placed"; 2]);
    if !database.is(DbBackend::Sqlite) {
        place(&db, 3, AccessMode::ReadOnly)
            .await
            .expect_err("it may not write");
        inherent(3, AccessMode::ReadOnly)
            .await
            .expect_err("it may not write");
    }
    assert_eq!(orders(database).await, [1, 2]);
}

async fn a_transaction_runs_in_a_spawned_task(database: &TestDatabase) {
    let db = shop::open(database).await;
    let tasks = (1..=4).map(|id| {
        let db = db.clone();
        tokio::spawn(async move {
            let note = format!("order {id}");
            db.transaction_async(async |tx| {
                Order::place(id).insert(tx).await?;
                tx.transaction_async(async |nested| {
                    nested.enqueue("audit", "", note.clone().into_bytes())
                })
                .await?;
                Ok::<_, Error>(note.len())
            })
            .await
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert_eq!(task.await.unwrap().unwrap(), 7);
    }
    assert_eq!(orders(database).await, [1, 2, 3, 4]);
    assert_eq!(database.outbox().await.len(), 8);
}

async fn a_transaction_runs_in_a_handler_that_borrows(database: &TestDatabase) {
    async fn place(State(db): State<OutboxConnection>, body: String) -> Result<String, StatusCode> {
        let (id, note) = body.split_once(' ').ok_or(StatusCode::BAD_REQUEST)?;
        let id: i64 = id.parse().map_err(|_| StatusCode::BAD_REQUEST)?;
        db.transaction_async(async |tx| {
            Order::place(id).insert(tx).await?;
            tx.enqueue("audit", "", note.as_bytes().to_vec())?;
            Ok::<_, Error>(note.to_owned())
        })
        .await
        .map_err(|_| StatusCode::CONFLICT)
    }
    let db = shop::open(database).await;
    let _: Router = Router::new().route("/", post(place)).with_state(db.clone());
    let request = |body: &'static str| {
        axum::http::Request::post("/")
            .body(axum::body::Body::from(body))
            .unwrap()
    };
    let call = async |body| place.call(request(body), db.clone()).await.status();
    assert_eq!(call("1 first").await, StatusCode::OK);
    assert_eq!(call("1 again").await, StatusCode::CONFLICT);
    assert_eq!(database.schemas().await, ["order.placed", "audit"]);
}

async fn an_isolation_level_is_that_of_the_transaction(database: &TestDatabase) {
    if database.is(DbBackend::Sqlite) {
        return;
    }
    let db = shop::open(database).await;
    // Of two transactions that read what the other writes one has to fail, if they are
    // serializable.
    let begin = || {
        db.begin_with_config(
            Some(IsolationLevel::Serializable),
            Some(AccessMode::ReadWrite),
        )
    };
    let both_have_read = tokio::sync::Barrier::new(2);
    let work = async |id: i64| {
        let tx = begin().await?;
        let count = order::Entity::find().count(&tx).await?;
        assert_eq!(count, 0);
        both_have_read.wait().await;
        let inserted = tx.scope(async { Order::place(id).insert(&tx).await }).await;
        match inserted {
            Ok(()) => tx.commit().await,
            Err(error) => Err(error.into()),
        }
    };
    let (first, second) = tokio::join!(work(1), work(2));
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    assert_eq!(orders(database).await.len(), 1);
    assert_eq!(database.outbox().await.len(), 1);

    let read_only = db
        .transaction_with_config_async(
            async |tx| Order::place(9).insert(tx).await,
            None,
            Some(AccessMode::ReadOnly),
        )
        .await;
    assert!(read_only.is_err());
}

async fn sqlite_begins_immediate_unless_told_otherwise(database: &TestDatabase) {
    if !database.is(DbBackend::Sqlite) {
        return;
    }
    let db = shop::open(database).await;
    let other = OutboxConnection::new(database.connect(1).await);
    other
        .execute_unprepared("PRAGMA busy_timeout = 0")
        .await
        .unwrap();
    let writer = db.begin().await.unwrap();
    assert!(
        other.begin().await.is_err(),
        "there is one writer at a time"
    );
    let deferred = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Deferred),
        ..Default::default()
    };
    let reader = other
        .begin_with_options(deferred)
        .await
        .expect("it only reads");
    order::Entity::find().count(&reader).await.unwrap();
    reader.commit().await.unwrap();
    other
        .begin_with_config(None, Some(AccessMode::ReadOnly))
        .await
        .expect("it only reads")
        .commit()
        .await
        .unwrap();
    writer.commit().await.unwrap();
    let value = other
        .transaction_with_options_async(async |_| Ok::<_, DbErr>(7), deferred)
        .await
        .unwrap();
    assert_eq!(value, 7);
}

/// The reason why a transaction is IMMEDIATE by default.
async fn sqlite_refuses_a_write_on_stale_reads_at_once(database: &TestDatabase) {
    if !database.is(DbBackend::Sqlite) {
        return;
    }
    shop::create_tables(&database.db).await;
    let patience = Duration::from_secs(60);
    let patient = async || {
        let connection = database.connect(1).await;
        let pragma = format!("PRAGMA busy_timeout = {}", patience.as_millis());
        connection.execute_unprepared(&pragma).await.unwrap();
        OutboxConnection::new(connection)
    };
    let (db, other) = (patient().await, patient().await);

    let deferred = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Deferred),
        ..Default::default()
    };
    let tx = db.begin_with_options(deferred).await.unwrap();
    assert_eq!(order::Entity::find().count(&tx).await.unwrap(), 0);
    Order {
        id: 1,
        total: 1,
        events: Default::default(),
    }
    .insert(&other)
    .await
    .unwrap();
    let since = Instant::now();
    let refused = tx
        .scope(async { Order::place(2).insert(&tx).await })
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("database is locked"),
        "{refused}"
    );
    assert!(since.elapsed() < patience / 2, "it does not even wait");
    tx.rollback().await.unwrap();

    let tx = db.begin().await.unwrap();
    assert_eq!(order::Entity::find().count(&tx).await.unwrap(), 1);
    other
        .execute_unprepared("PRAGMA busy_timeout = 0")
        .await
        .unwrap();
    let beside = Order {
        id: 3,
        total: 1,
        events: Default::default(),
    };
    beside
        .insert(&other)
        .await
        .expect_err("it would have to wait");
    tx.scope(async { Order::place(2).insert(&tx).await })
        .await
        .unwrap();
    tx.commit().await.unwrap();
    beside.insert(&other).await.unwrap();
    assert_eq!(orders(database).await, [1, 2, 3]);
    assert_eq!(database.schemas().await, ["order.placed"]);
}

async fn the_outer_connection_in_its_scope_is_not_in_the_transaction(database: &TestDatabase) {
    if database.is(DbBackend::Sqlite) {
        // It would wait for the lock that the transaction holds.
        return;
    }
    let db = shop::open(database).await;
    let rolled_back = db
        .transaction_async(async |_| {
            Order::place(1).insert(&db).await?;
            Err::<(), _>(DbErr::Custom("changed my mind".into()))
        })
        .await;
    assert!(rolled_back.is_err());
    assert_eq!(
        orders(database).await,
        [1],
        "this is what the warning is about"
    );
    assert!(database.outbox().await.is_empty());
}
