//! `transaction_retrying` runs a transaction again when another one was in the way, and for no
//! other reason.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use bento_relay::retry::RetryPolicy;
use bento_seaorm::{Error, OutboxConnection, OutboxTransaction, TransactionError};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait};
use tokio::sync::Barrier;

use crate::support::{TestDatabase, on_every_back_end};
use crate::warehouse::account::{Entity, Model};
use crate::warehouse::{self, packed};

on_every_back_end!(
    a_conflict_of_versions_runs_the_closure_again,
    a_conflict_is_retried_though_the_closure_hides_it,
    a_closure_that_fails_by_itself_runs_once,
    the_attempts_are_bounded_by_the_policy,
    a_deadlock_runs_the_closure_again,
    a_serialization_failure_runs_the_closure_again,
    a_lost_connection_runs_the_closure_once,
    it_runs_in_a_spawned_task_and_in_a_handler,
);

const AT_ONCE: RetryPolicy = RetryPolicy::fixed(Duration::from_millis(1), 5);

async fn opened(db: &OutboxConnection) -> i64 {
    let mut account = Model::open();
    let tx = db.begin().await.unwrap();
    tx.save(&mut account).await.unwrap();
    tx.commit().await.unwrap();
    account.id
}

async fn load(tx: &impl ConnectionTrait, id: i64) -> Model {
    Entity::find_by_id(id)
        .one(tx)
        .await
        .unwrap()
        .expect("it is there")
}

/// A save by the version that the account had when it was loaded, with the attempt in which this
/// happened.
async fn deposit(tx: &OutboxTransaction, id: i64, version: Option<i32>) -> Result<(), Error> {
    let mut account = load(tx, id).await;
    account.version = version.unwrap_or(account.version);
    account.deposit(1);
    tx.save(&mut account).await
}

async fn a_conflict_of_versions_runs_the_closure_again(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let (id, attempts) = (opened(&db).await, AtomicU32::new(0));
    let answer = db
        .transaction_retrying(AT_ONCE, async |tx| {
            let attempt = attempts.fetch_add(1, Ordering::Relaxed);
            deposit(tx, id, (attempt < 2).then_some(99)).await?;
            Ok::<_, Error>(attempt)
        })
        .await;
    assert_eq!(answer.unwrap(), 2);
    assert_eq!(load(&database.db, id).await.version, 2);
    assert_eq!(
        packed(database).await.len(),
        2,
        "the event of the opening and of the last attempt"
    );
}

async fn a_conflict_is_retried_though_the_closure_hides_it(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let (id, attempts) = (opened(&db).await, AtomicU32::new(0));
    db.transaction_retrying(AT_ONCE, async |tx| {
        let is_first = attempts.fetch_add(1, Ordering::Relaxed) == 0;
        deposit(tx, id, is_first.then_some(99))
            .await
            .map_err(|_| "it did not work")
    })
    .await
    .unwrap();
    assert_eq!(attempts.into_inner(), 2);
}

async fn a_closure_that_fails_by_itself_runs_once(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let attempts = AtomicU32::new(0);
    let run = async |tx: &OutboxTransaction| {
        attempts.fetch_add(1, Ordering::Relaxed);
        tx.execute_unprepared("SELECT * FROM no_such_table").await
    };
    db.transaction_retrying(AT_ONCE, run)
        .await
        .expect_err("the table does not exist");
    let refused = db
        .transaction_retrying(AT_ONCE, async |_| Err::<(), _>("sold out"))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, TransactionError::Transaction("sold out")),
        "{refused:?}"
    );
    assert_eq!(attempts.load(Ordering::Relaxed), 1);
}

async fn the_attempts_are_bounded_by_the_policy(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let (id, attempts) = (opened(&db).await, AtomicU32::new(0));
    let refused = db
        .transaction_retrying(RetryPolicy::immediate(3), async |tx| {
            attempts.fetch_add(1, Ordering::Relaxed);
            deposit(tx, id, Some(99)).await
        })
        .await
        .unwrap_err();
    assert!(
        matches!(
            refused,
            TransactionError::Transaction(Error::Conflict { expected: 99, .. })
        ),
        "{refused:?}"
    );
    assert_eq!(attempts.into_inner(), 3);
}

/// Two transactions change two accounts in opposite order, each when the other has changed its
/// first.
async fn a_deadlock_runs_the_closure_again(database: &TestDatabase) {
    if database.is(DbBackend::Sqlite) {
        return;
    }
    let db = warehouse::open(database).await;
    let (left, right) = (opened(&db).await, opened(&db).await);
    let both_have_one = Barrier::new(2);
    let attempts = AtomicU32::new(0);
    let swap = async |ids: [i64; 2]| {
        let is_first = AtomicU32::new(1);
        db.transaction_retrying(AT_ONCE, async |tx| {
            attempts.fetch_add(1, Ordering::Relaxed);
            let change = async |id| {
                tx.execute_unprepared(&format!(
                    "UPDATE account SET balance = balance + 1 WHERE id = {id}"
                ))
                .await
            };
            change(ids[0]).await?;
            if is_first.swap(0, Ordering::Relaxed) == 1 {
                both_have_one.wait().await;
            }
            change(ids[1]).await
        })
        .await
    };
    let (first, second) = tokio::join!(swap([left, right]), swap([right, left]));
    first.unwrap();
    second.unwrap();
    assert!(attempts.into_inner() >= 3, "one of them was a victim");
    let balances = [
        load(&database.db, left).await.balance,
        load(&database.db, right).await.balance,
    ];
    assert_eq!(balances, [2, 2]);
}

/// PostgreSQL says so when a transaction changes what another has changed since it began to read.
async fn a_serialization_failure_runs_the_closure_again(database: &TestDatabase) {
    if !database.is(DbBackend::Postgres) {
        return;
    }
    let db = warehouse::open(database).await;
    let (id, attempts) = (opened(&db).await, AtomicU32::new(0));
    db.transaction_retrying(AT_ONCE, async |tx| {
        tx.execute_unprepared("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            .await?;
        let mut account = load(tx, id).await;
        if attempts.fetch_add(1, Ordering::Relaxed) == 0 {
            database
                .db
                .execute_unprepared("UPDATE account SET balance = 100")
                .await?;
        }
        account.deposit(1);
        tx.save(&mut account).await
    })
    .await
    .unwrap();
    assert_eq!(
        (load(&database.db, id).await.balance, attempts.into_inner()),
        (101, 2)
    );
}

async fn a_lost_connection_runs_the_closure_once(database: &TestDatabase) {
    if !database.is(DbBackend::Postgres) {
        return;
    }
    let db = warehouse::open(database).await;
    let attempts = AtomicU32::new(0);
    let run = async |tx: &OutboxTransaction| {
        attempts.fetch_add(1, Ordering::Relaxed);
        tx.execute_unprepared("SELECT pg_terminate_backend(pg_backend_pid())")
            .await
    };
    db.transaction_retrying(AT_ONCE, run)
        .await
        .expect_err("the server has closed it");
    assert_eq!(attempts.into_inner(), 1);
}

/// Compiles only if its future is `Send`, also when the closure borrows.
async fn it_runs_in_a_spawned_task_and_in_a_handler(database: &TestDatabase) {
    async fn pay(State(db): State<OutboxConnection>, body: String) -> Result<String, StatusCode> {
        let (id, note) = body.split_once(' ').ok_or(StatusCode::BAD_REQUEST)?;
        let id: i64 = id.parse().map_err(|_| StatusCode::BAD_REQUEST)?;
        db.transaction_retrying(AT_ONCE, async |tx| {
            deposit(tx, id, None).await?;
            tx.enqueue("audit", "", note.as_bytes().to_vec())?;
            Ok::<_, Error>(note.to_owned())
        })
        .await
        .map_err(|_| StatusCode::CONFLICT)
    }
    let db = warehouse::open(database).await;
    let id = opened(&db).await;
    let _: Router = Router::new().route("/", post(pay)).with_state(db.clone());
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                let patient = RetryPolicy::fixed(Duration::from_millis(5), 100);
                let name = String::from("moved in");
                db.transaction_retrying(patient, async move |tx| {
                    assert_eq!(name.len(), 8);
                    deposit(tx, id, None).await
                })
                .await
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    pay(State(db), format!("{id} note")).await.unwrap();
    assert_eq!(load(&database.db, id).await.version, 6);
}
