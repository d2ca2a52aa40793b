//! Loads that end early: dropped, refused, or by a panic. The next statement is not disturbed.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bento_core::event_sourced::StreamFault;
use bento_core::{PendingEvents, aggregate, domain_event};
use bento_relay::event_store::EventStore as _;
use bento_seaorm::{DatabaseEvents, Error, OutboxConnection, OutboxTransaction};
use futures_util::FutureExt as _;
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use tokio::time::timeout;

use crate::support::proxy::Proxy;
use crate::support::{TestDatabase, connect, on_every_back_end};

on_every_back_end!(
    a_dropped_load_does_not_disturb_its_transaction,
    a_dropped_load_costs_no_connection,
    a_load_that_nobody_waits_for_stops,
    a_panic_of_apply_reaches_the_caller_alone,
    a_fault_before_many_events_does_not_disturb_the_transaction,
    a_cell_of_another_type_is_told,
);

/// More rows than one answer of the database holds.
const EVENTS: i64 = 600;

/// The number that panics when it is applied.
const PANICS: i64 = -1;

#[domain_event(schema = "tally.counted", version = 1)]
#[derive(Debug)]
pub struct Counted {
    pub number: i64,
    pub remark: String,
}

#[aggregate(event_sourced, events(Counted), name = "tally")]
#[derive(Debug, Default)]
pub struct Tally {
    pub id: String,
    #[aggregate(version)]
    pub version: i64,
    pub sum: i64,
    pub events: PendingEvents,
}

/// The number of events that were applied to each tally.
static APPLIED: Mutex<BTreeMap<String, i64>> = Mutex::new(BTreeMap::new());

impl Tally {
    fn count(&mut self, number: i64, remark: &str) {
        let remark = remark.to_owned();
        self.raise(Counted { number, remark });
    }

    fn apply(&mut self, event: &TallyEvent) {
        let TallyEvent::Counted(counted) = event;
        assert_ne!(counted.number, PANICS, "the number that panics");
        self.sum += counted.number;
        let mut applied = APPLIED.lock().unwrap_or_else(PoisonError::into_inner);
        *applied.entry(self.id.clone()).or_default() += 1;
    }
}

fn applied(id: &str) -> i64 {
    let applied = APPLIED.lock().unwrap_or_else(PoisonError::into_inner);
    applied.get(id).copied().unwrap_or_default()
}

/// Stores a tally of [`EVENTS`] ones, and returns a pool of one connection that a proxy delays.
async fn stored(database: &TestDatabase, id: &str) -> (OutboxConnection, Proxy) {
    stored_with(database, id, "a remark that makes the payload longer").await
}

async fn stored_with(database: &TestDatabase, id: &str, remark: &str) -> (OutboxConnection, Proxy) {
    let mut tally = Tally {
        id: id.to_owned(),
        ..Tally::default()
    };
    for _ in 0..EVENTS {
        tally.count(1, remark);
    }
    let db = OutboxConnection::new(database.db.clone());
    DatabaseEvents::new(db).save(&mut tally).await.unwrap();
    let proxy = Proxy::before(database.url(), Duration::from_millis(1)).await;
    let pool = connect(proxy.url(), 1).await;
    (OutboxConnection::new(pool), proxy)
}

/// Polls a load so often and drops it. Returns `true` if it has ended before.
async fn drop_after<T>(polls: u32, load: impl Future<Output = T>) -> bool {
    let (mut load, mut left) = (pin!(load), polls);
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        load.as_mut().poll(cx).map(|_| true)
    })
    .await
}

/// Asserts that the next statements of a transaction have their own answers.
async fn is_undisturbed(tx: &OutboxTransaction, backend: DbBackend, id: &str) {
    let select = Statement::from_string(backend, "SELECT 42");
    let answer = tx.query_one_raw(select).await.unwrap().unwrap();
    let number: i64 = match backend {
        DbBackend::Postgres => answer.try_get_by_index::<i32>(0).unwrap().into(),
        _ => answer.try_get_by_index(0).unwrap(),
    };
    assert_eq!(number, 42);
    let tally = tx.load::<Tally>(id).await.unwrap().expect("it is stored");
    assert_eq!((tally.version, tally.sum), (EVENTS, EVENTS));
}

async fn a_dropped_load_does_not_disturb_its_transaction(database: &TestDatabase) {
    let (db, _proxy) = stored(database, "dropped").await;
    let tx = db.begin().await.unwrap();
    for polls in [1, 2, 3, 5, 8, 13] {
        drop_after(polls, tx.load::<Tally>("dropped")).await;
        is_undisturbed(&tx, database.backend(), "dropped").await;
    }
    tx.commit().await.unwrap();
}

async fn a_dropped_load_costs_no_connection(database: &TestDatabase) {
    let (db, _proxy) = stored(database, "pooled").await;
    let events = DatabaseEvents::new(db);
    for polls in [1, 2, 3, 5, 8, 13] {
        drop_after(polls, events.load::<Tally>("pooled")).await;
        let loaded = timeout(Duration::from_secs(30), events.load::<Tally>("pooled"));
        let tally = loaded.await.expect("the connection is back").unwrap();
        assert_eq!(tally.map(|tally| tally.sum), Some(EVENTS));
    }
}

async fn a_load_that_nobody_waits_for_stops(database: &TestDatabase) {
    let id = format!("abandoned-{:?}", database.backend());
    // A future gives way to others before it has read this much.
    let (db, _proxy) = stored_with(database, &id, &"long ".repeat(800)).await;
    let before = applied(&id);
    let tx = db.begin().await.unwrap();
    let is_begun = {
        let mut load = pin!(tx.load::<Tally>(&*id));
        poll_fn(|cx| match load.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(false),
            Poll::Pending if applied(&id) > before => Poll::Ready(true),
            Poll::Pending => Poll::Pending,
        })
        .await
    };
    // The rows of an embedded database may all be there at the first poll.
    assert!(is_begun || database.is(DbBackend::Sqlite));
    let when_dropped = applied(&id);
    tx.execute_unprepared("SELECT 1").await.unwrap();
    assert_eq!(applied(&id), when_dropped);
}

/// The number of futures that were polled again after a panic, since the first call.
fn polled_after_a_panic() -> usize {
    static COUNTED: AtomicUsize = AtomicUsize::new(0);
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.to_string().contains("resumed after panicking") {
                COUNTED.fetch_add(1, Ordering::SeqCst);
            }
            before(panic);
        }));
    });
    COUNTED.load(Ordering::SeqCst)
}

async fn a_panic_of_apply_reaches_the_caller_alone(database: &TestDatabase) {
    assert_eq!(polled_after_a_panic(), 0);
    let (db, _proxy) = stored(database, "panics").await;
    let update = format!(
        "UPDATE bento_event SET payload = '{{\"number\":{PANICS},\"remark\":\"\"}}' \
         WHERE sequence = 20"
    );
    let tx = db.begin().await.unwrap();
    let inner = tx.begin().await.unwrap();
    inner.execute_unprepared(&update).await.unwrap();
    let load = AssertUnwindSafe(inner.load::<Tally>("panics")).catch_unwind();
    let panic = load.await.expect_err("it panics");
    let text = panic.downcast_ref::<String>().expect("its own text");
    assert!(text.contains("the number that panics"), "{text}");
    inner.rollback().await.unwrap();
    is_undisturbed(&tx, database.backend(), "panics").await;
    tx.commit().await.unwrap();
    assert_eq!(polled_after_a_panic(), 0);
}

async fn a_fault_before_many_events_does_not_disturb_the_transaction(database: &TestDatabase) {
    let (db, _proxy) = stored(database, "broken").await;
    let tx = db.begin().await.unwrap();
    let inner = tx.begin().await.unwrap();
    let delete = "DELETE FROM bento_event WHERE sequence = 2";
    inner.execute_unprepared(delete).await.unwrap();
    let refused = inner.load::<Tally>("broken").await.unwrap_err();
    let is_hole = match &refused {
        Error::Stream { fault, .. } => {
            matches!(
                **fault,
                StreamFault::Hole {
                    expected: 2,
                    found: 3
                }
            )
        }
        _ => false,
    };
    assert!(is_hole, "{refused:?}");
    inner.rollback().await.unwrap();
    is_undisturbed(&tx, database.backend(), "broken").await;
    tx.commit().await.unwrap();
}

/// A value of SQLite has a type of its own, so each row is looked at.
async fn a_cell_of_another_type_is_told(database: &TestDatabase) {
    let (db, _proxy) = stored(database, "typed").await;
    let change = match database.backend() {
        DbBackend::Sqlite => "UPDATE bento_event SET schema_version = 'one' WHERE sequence = 2",
        DbBackend::MySql => "ALTER TABLE bento_event MODIFY schema_version VARCHAR(10)",
        _ => "ALTER TABLE bento_event ALTER schema_version TYPE text",
    };
    database.db.execute_unprepared(change).await.unwrap();
    let refused = DatabaseEvents::new(db).load::<Tally>("typed").await;
    let error = bento_core::report::with_causes(&refused.unwrap_err());
    assert!(error.contains("mismatched types"), "{error}");
}
