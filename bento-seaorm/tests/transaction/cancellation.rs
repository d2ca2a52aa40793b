//! A future that is dropped at any moment loses no acknowledged write, and leaves no session of the
//! pool in a transaction or unusable.

use std::future::Future;
use std::time::Duration;

use bento_core::EventId;
use bento_core::outbox::ShardId;
use bento_relay::dead_letter::{DeadLetterQuery, DeadLetters, Discarding};
use bento_relay::inspect::Inspect;
use bento_relay::store::{Advance, Heartbeat, Lease, Prune, RelayId, RelayStore};
use bento_relay::tenant::Pauses;
use bento_seaorm::{Error, OutboxConnection, OutboxStore};
use futures_util::TryStreamExt as _;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, Statement, StreamTrait, TransactionTrait,
};
use tokio::time::timeout;

use crate::shop::{self, Order, orders};
use crate::support::proxy::Proxy;
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    a_cancelled_begin_loses_no_acknowledged_write,
    a_cancelled_transaction_loses_no_acknowledged_write,
    a_cancelled_statement_without_a_transaction_costs_nothing,
    a_cancelled_call_of_the_store_costs_no_connection,
    a_thousand_cancellations_lose_no_acknowledged_write,
);

/// The delay of each answer.
const DELAY: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A pool through a proxy that delays each answer, and a table of its own for what is acknowledged.
async fn delayed(database: &TestDatabase, connections: u32) -> (DatabaseConnection, Proxy) {
    database
        .db
        .execute_unprepared("CREATE TABLE ledger (id BIGINT PRIMARY KEY)")
        .await
        .unwrap();
    let proxy = Proxy::before(database.url(), DELAY).await;
    (
        crate::support::connect(proxy.url(), connections).await,
        proxy,
    )
}

/// Polls a future so often and drops it: at once after the last time, or when it could be polled
/// again.
async fn dropped_after<F: Future>(polls: u32, at_once: bool, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return std::task::Poll::Ready(None);
        }
        left -= 1;
        let polled = future.as_mut().poll(cx).map(Some);
        if polled.is_pending() && left == 0 && at_once {
            std::task::Poll::Ready(None)
        } else {
            polled
        }
    })
    .await
}

/// Each number of polls, with the future dropped at once after it, or when it is woken.
fn steps(most: u32) -> impl Iterator<Item = (u32, bool)> {
    (0..most).flat_map(|polls| [(polls, true), (polls, false)])
}

async fn acknowledged(db: &OutboxConnection, id: i64) {
    db.execute_unprepared(&format!("INSERT INTO ledger (id) VALUES ({id})"))
        .await
        .unwrap();
}

/// Checks that another connection sees the acknowledged rows.
async fn is_visible(database: &TestDatabase, acknowledged: i64) {
    assert_eq!(
        database.number("SELECT count(*) FROM ledger").await,
        acknowledged
    );
}

/// The pool has all of its connections, none of them in a transaction.
async fn is_whole(database: &TestDatabase, db: &DatabaseConnection, connections: u32) {
    no_session_is_in_a_transaction(database).await;
    let mut all = Vec::new();
    for _ in 0..connections {
        all.push(
            timeout(Duration::from_secs(10), db.begin())
                .await
                .expect("the pool has its connections")
                .unwrap(),
        );
    }
    for transaction in all {
        transaction.rollback().await.unwrap();
    }
}

/// Waits until the dropped calls are finished.
async fn no_session_is_in_a_transaction(database: &TestDatabase) {
    let open = match database.backend() {
        DbBackend::Postgres => {
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state \
             LIKE 'idle in transaction%'"
        }
        DbBackend::MySql => {
            "SELECT count(*) FROM information_schema.innodb_trx t JOIN \
             information_schema.processlist p ON p.id = t.trx_mysql_thread_id WHERE p.db = \
             DATABASE() AND p.command = 'Sleep'"
        }
        _ => return,
    };
    let mut sessions = 0;
    // A busy server takes seconds to end a statement whose answer comes late.
    for _ in 0..6000 {
        sessions = database.number(open).await;
        if sessions == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{sessions} sessions are left in a transaction");
}

async fn a_cancelled_begin_loses_no_acknowledged_write(database: &TestDatabase) {
    let (pool, _proxy) = delayed(database, 1).await;
    let db = OutboxConnection::new(pool.clone());
    let mut id = 0;
    for (polls, at_once) in steps(16) {
        drop(dropped_after(polls, at_once, db.begin()).await);
        id += 1;
        acknowledged(&db, id).await;
        is_visible(database, id).await;
        let serializable = db.begin_with_config(Some(sea_orm::IsolationLevel::Serializable), None);
        drop(dropped_after(polls, at_once, serializable).await);
        id += 1;
        acknowledged(&db, id).await;
        is_visible(database, id).await;
    }
    is_whole(database, &pool, 1).await;
}

async fn place(db: &OutboxConnection, id: i64) -> Result<(), Error> {
    let tx = db.begin().await?;
    let mut order = Order::place(id);
    tx.collect(&mut order)?;
    let written = order.insert(&tx).await;
    let finished = match (written, id % 3) {
        (Ok(()), 0) => tx.rollback().await,
        (Ok(()), _) => tx.commit().await,
        (Err(error), _) => Err(error.into()),
    };
    order.take();
    finished
}

/// Each order has its event, and the other way round.
async fn are_told(database: &TestDatabase, committed: &[i64]) {
    let orders = orders(database).await;
    assert!(
        committed.iter().all(|id| orders.contains(id)),
        "every acknowledged commit is there"
    );
    let mut told: Vec<i64> = database
        .outbox()
        .await
        .iter()
        .map(|row| row.aggregate_id.parse().unwrap())
        .collect();
    told.sort_unstable();
    assert_eq!(told, orders);
}

async fn a_cancelled_transaction_loses_no_acknowledged_write(database: &TestDatabase) {
    shop::create_tables(&database.db).await;
    let (pool, _proxy) = delayed(database, 1).await;
    let db = OutboxConnection::new(pool.clone());
    let (mut id, mut committed) = (0, Vec::new());
    for (polls, at_once) in steps(36) {
        id += 1;
        if let Some(answer) = dropped_after(polls, at_once, place(&db, id)).await {
            answer.unwrap();
            committed.extend((id % 3 != 0).then_some(id));
        }
        acknowledged(&db, id).await;
        is_visible(database, id).await;
    }
    is_whole(database, &pool, 1).await;
    are_told(database, &committed).await;
}

async fn a_cancelled_statement_without_a_transaction_costs_nothing(database: &TestDatabase) {
    let (pool, _proxy) = delayed(database, 1).await;
    let db = OutboxConnection::new(pool.clone());
    for (polls, at_once) in steps(16) {
        // A text of its own, so that it is prepared.
        let placeholder = if database.is(DbBackend::Postgres) {
            "$1"
        } else {
            "?"
        };
        let sql = format!(
            "SELECT id, {polls}{} FROM ledger WHERE id > {placeholder}",
            u8::from(at_once)
        );
        let select =
            || Statement::from_sql_and_values(database.backend(), sql.clone(), [0_i64.into()]);
        drop(dropped_after(polls, at_once, db.query_all_raw(select())).await);
        drop(dropped_after(polls, at_once, db.ping()).await);
        drop(
            dropped_after(polls, at_once, async {
                db.stream_raw(select()).await?.try_collect::<Vec<_>>().await
            })
            .await,
        );
    }
    is_whole(database, &pool, 1).await;
}

async fn a_cancelled_call_of_the_store_costs_no_connection(database: &TestDatabase) {
    let (pool, _proxy) = delayed(database, 2).await;
    let store = OutboxStore::new(pool.clone());
    let relay = RelayId::new();
    let beat = || Heartbeat {
        relay,
        ttl: MINUTE,
        lanes: None,
        claim: true,
        publishes: true,
        handlers: Vec::new(),
        idle: Vec::new(),
    };
    let leases = store.heartbeat(beat()).await.unwrap().leases;
    let shards: Vec<ShardId> = leases.iter().map(|lease| lease.shard).collect();
    let discarding = Discarding::because("a test").unwrap();
    // A heartbeat is eight round trips, and a call before it may still run.
    for step in [1, 2, 3, 5, 8, 13, 21, 34]
        .into_iter()
        .flat_map(|polls| [(polls, true), (polls, false)])
    {
        let lease = leases[step.0 as usize % leases.len()];
        cut(database, step, store.heartbeat(beat())).await;
        cut(database, step, store.advance(advance(lease))).await;
        cut(database, step, store.poll(&shards, &[])).await;
        cut(database, step, store.release(RelayId::new())).await;
        cut(database, step, prune(&store)).await;
        cut(database, step, store.counts()).await;
        cut(database, step, store.backlog()).await;
        cut(database, step, store.list(&DeadLetterQuery::default())).await;
        let letters = [(EventId::new(), "default".into())];
        cut(
            database,
            step,
            store.discard_together(0, &letters, &discarding),
        )
        .await;
        cut(database, step, store.pause("acme", "a test", None)).await;
        cut(database, step, store.resume("acme")).await;
    }
    is_whole(database, &pool, 2).await;
}

/// Drops a call and looks at the sessions.
async fn cut(database: &TestDatabase, (polls, at_once): (u32, bool), call: impl Future) {
    drop(dropped_after(polls, at_once, call).await);
    no_session_is_in_a_transaction(database).await;
}

fn advance(lease: Lease) -> Advance {
    Advance {
        lease,
        ttl: MINUTE,
        settled: Vec::new(),
        pending: 10,
        held: 10,
        revision: None,
        without: Vec::new(),
        keep_published: false,
    }
}

async fn prune(store: &OutboxStore) {
    store
        .prune(Prune {
            older_than: MINUTE,
            batch: 10,
            every: Duration::ZERO,
        })
        .await
        .unwrap();
}

/// `BENTO_TEST_CANCELLATIONS` says how many; without it there are a thousand.
async fn a_thousand_cancellations_lose_no_acknowledged_write(database: &TestDatabase) {
    shop::create_tables(&database.db).await;
    database
        .db
        .execute_unprepared("CREATE TABLE ledger (id BIGINT PRIMARY KEY)")
        .await
        .unwrap();
    let count: i64 = std::env::var("BENTO_TEST_CANCELLATIONS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(1000);
    let pool = database.connect(2).await;
    let db = OutboxConnection::new(pool.clone());
    let mut committed = Vec::new();
    for id in 1..=count {
        let polls = u32::try_from(((id * 2_654_435_761) >> 7) & 1023).unwrap();
        let at_once = polls & 32 == 0;
        if id % 2 == 0 {
            drop(dropped_after(polls % 8, at_once, db.begin()).await);
        } else if let Some(answer) = dropped_after(polls % 32, at_once, place(&db, id)).await {
            answer.unwrap();
            committed.extend((id % 3 != 0).then_some(id));
        }
        acknowledged(&db, id).await;
        is_visible(database, id).await;
    }
    is_whole(database, &pool, 2).await;
    are_told(database, &committed).await;
}
