//! Wakes between processes: each has a `Wake` and a bridge of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bento_core::{domain_event, raise};
use bento_relay::publish::MemoryPublisher;
use bento_relay::telemetry::{RECEIVED_WAKES, SENT_WAKES};
use bento_relay::{Relay, Wake, WakeSubscription};
use bento_testkit::Counters;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgListener};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::task::Bridge;
use super::{PostgresWake, payload};
use crate::tables::{TablePrefix, Tables};
use crate::test_database::on_postgres;
use crate::{OutboxConnection, OutboxStore};

/// The longest wait for a wake that should come.
const SOON: Duration = Duration::from_secs(30);
/// Longer than a test takes.
const LONG: Duration = Duration::from_secs(600);

#[domain_event(schema = "thing.woken", version = 1)]
#[derive(Clone, Debug)]
struct Woken {
    number: u32,
}

/// A process: whoever subscribes to its wake is told what others commit.
struct Process {
    wake: Wake,
    told: WakeSubscription,
    _bridge: PostgresWake,
}

impl Process {
    fn start(db: &DatabaseConnection) -> Self {
        Self::with_tables(db, Tables::default())
    }

    fn with_tables(db: &DatabaseConnection, tables: Tables) -> Self {
        Self::run(options(db), tables)
    }

    /// Makes a process whose sessions look for the tables along this `search_path`.
    fn along_a_path(db: &DatabaseConnection, path: &str) -> Self {
        Self::run(
            options(db).options([("search_path", path)]),
            Tables::default(),
        )
    }

    fn run(options: PgConnectOptions, tables: Tables) -> Self {
        let wake = Wake::new();
        let bridge = PostgresWake::run(options, tables, &wake);
        Self {
            told: wake.subscribe(),
            wake,
            _bridge: bridge,
        }
    }
}

fn options(db: &DatabaseConnection) -> PgConnectOptions {
    Arc::unwrap_or_clone(db.get_postgres_connection_pool().connect_options())
}

/// Another listener, which counts.
async fn listener(db: &DatabaseConnection) -> PgListener {
    Bridge::new(options(db), Tables::default(), Wake::new().subscribe())
        .listen()
        .await
        .unwrap()
}

const LISTENING: &str =
    "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";

/// Waits until this number of connections listens.
async fn listening(db: &DatabaseConnection, expected: i64) {
    let all_listen = async {
        loop {
            let count =
                Statement::from_string(DbBackend::Postgres, format!("SELECT count(*) {LISTENING}"));
            let count: i64 = db
                .query_one_raw(count)
                .await
                .unwrap()
                .unwrap()
                .try_get_by_index(0)
                .unwrap();
            if count == expected {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, all_listen).await.expect("everybody listens");
}

async fn told(process: &Process) -> BTreeSet<i32> {
    timeout(SOON, process.told.woken())
        .await
        .expect("a wake comes")
}

async fn commit(db: &OutboxConnection) {
    let raising = async |_: &_| {
        raise(Woken { number: 7 }).unwrap();
        Ok::<_, DbErr>(())
    };
    db.transaction_async(raising).await.unwrap();
}

#[tokio::test]
async fn a_relay_of_another_process_is_quick_although_it_polls_seldom() {
    on_postgres(async |db| {
        let (writer, other) = (Process::start(&db), Process::start(&db));
        let broker = MemoryPublisher::new();
        let store = OutboxStore::new(db.clone());
        // What is there when it starts is found without a wake.
        commit(&OutboxConnection::new(db.clone())).await;
        let relay = Relay::builder(store, broker.clone())
            .wake(&other.wake)
            .poll(LONG, LONG)
            .start()
            .unwrap();
        listening(&db, 2).await;
        let connection = OutboxConnection::builder(db.clone())
            .wake(&writer.wake)
            .build();
        for expected in 1..=6 {
            let published = async {
                while broker.published().len() < expected {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(SOON, published).await.expect("it is woken");
            commit(&connection).await;
        }
        relay.stop().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_burst_of_commits_sends_few_notifications_of_all_shards() {
    on_postgres(async |db| {
        let mut counting = listener(&db).await;
        let process = Process::start(&db);
        let began = Instant::now();
        for nth in 0..1000 {
            process.wake.wake(&[nth]);
            // As slowly as a database commits: a notification is quicker.
            sleep(Duration::from_millis(1)).await;
        }
        let (mut count, mut named) = (0_u128, BTreeSet::new());
        while named.len() < 1000 {
            let notification = timeout(SOON, counting.recv())
                .await
                .expect("the rest is named")
                .unwrap();
            let told = payload::read(Uuid::nil(), notification.payload());
            let Some(payload::Told::Shards(shards)) = told else {
                panic!("{told:?}")
            };
            named.extend(shards);
            count += 1;
        }
        let at_most = began.elapsed().as_millis() / 50 + 2;
        assert!(count <= at_most, "{count} notifications, at most {at_most}");
    })
    .await;
}

#[tokio::test]
async fn what_is_received_is_not_sent_on() {
    on_postgres(async |db| {
        let mut counting = listener(&db).await;
        let (first, second) = (Process::start(&db), Process::start(&db));
        listening(&db, 3).await;
        first.wake.wake(&[3, 4]);
        assert_eq!(told(&second).await, BTreeSet::from([3, 4]));
        timeout(SOON, counting.recv()).await.unwrap().unwrap();
        let more = timeout(Duration::from_millis(300), counting.recv()).await;
        assert!(more.is_err(), "a wake travels once: {more:?}");
    })
    .await;
}

#[tokio::test]
async fn notifications_are_counted_when_sent_and_when_received() {
    on_postgres(async |db| {
        let counters = Counters::default();
        let _recording = counters.record();
        let (first, second, third) = (
            Process::start(&db),
            Process::start(&db),
            Process::start(&db),
        );
        listening(&db, 3).await;
        for (nth, sender) in [(1, &first), (2, &first), (3, &third)] {
            sender.wake.wake(&[nth]);
            for process in [&first, &second, &third] {
                assert_eq!(told(process).await, BTreeSet::from([nth]));
            }
        }
        let answered = async {
            while counters.get(SENT_WAKES) < 3 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, answered).await.expect("the server answers");
        assert_eq!(
            (counters.get(SENT_WAKES), counters.get(RECEIVED_WAKES)),
            (3, 6)
        );
    })
    .await;
}

#[tokio::test]
async fn outboxes_with_different_prefixes_do_not_wake_each_other() {
    on_postgres(async |db| {
        let sales = Tables::new(TablePrefix::new("sales_").unwrap());
        let (own, same, other) = (
            Process::start(&db),
            Process::start(&db),
            Process::with_tables(&db, sales),
        );
        listening(&db, 3).await;
        own.wake.wake(&[1]);
        assert_eq!(told(&same).await, BTreeSet::from([1]));
        let more = timeout(Duration::from_millis(100), other.told.woken()).await;
        assert!(more.is_err(), "it is another outbox: {more:?}");
    })
    .await;
}

#[tokio::test]
async fn outboxes_in_different_schemas_do_not_wake_each_other() {
    on_postgres(async |db| {
        let of = |schema: &str| Tables::new(TablePrefix::default().in_schema(schema).unwrap());
        // One of the other two is migrated; the channel of the one that is not is named for where
        // it will be.
        for schema in ["Billing-EU", "later"] {
            db.execute_unprepared(&format!("CREATE SCHEMA \"{schema}\""))
                .await
                .unwrap();
        }
        crate::migrate_with(&db, of("Billing-EU").prefix().clone())
            .await
            .unwrap();
        let (found, named) = (Process::start(&db), Process::with_tables(&db, of("public")));
        let others = ["Billing-EU", "later"].map(|schema| Process::with_tables(&db, of(schema)));
        let led: Vec<_> = ["\"Billing-EU\"", "later"]
            .map(|schema| Process::along_a_path(&db, schema))
            .into();
        // The tables are in the second schema of its path.
        let found_last = Process::along_a_path(&db, "later,public");
        listening(&db, 7).await;
        found.wake.wake(&[1]);
        for same in [&named, &found_last] {
            assert_eq!(told(same).await, BTreeSet::from([1]));
        }
        for (nth, (other, led)) in (2..).zip(others.iter().zip(&led)) {
            let more = timeout(Duration::from_millis(100), other.told.woken()).await;
            assert!(more.is_err(), "it is another outbox: {more:?}");
            other.wake.wake(&[nth]);
            assert_eq!(told(led).await, BTreeSet::from([nth]));
        }
        let more = timeout(Duration::from_millis(100), named.told.woken()).await;
        assert!(more.is_err(), "they are other outboxes: {more:?}");
    })
    .await;
}

#[tokio::test]
async fn connections_that_are_lost_are_made_again() {
    on_postgres(async |db| {
        let (first, second) = (Process::start(&db), Process::start(&db));
        listening(&db, 2).await;
        first.wake.wake(&[1]);
        assert_eq!(told(&second).await, BTreeSet::from([1]));
        // The listeners, and the connection that has sent.
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = \
                    current_database() AND (query LIKE 'LISTEN%' OR query LIKE 'SELECT \
                    pg_notify%')";
        db.execute_unprepared(kill).await.unwrap();
        let recovers = async {
            loop {
                first.wake.wake(&[2]);
                if let Ok(told) = timeout(Duration::from_millis(200), second.told.woken()).await {
                    return told;
                }
            }
        };
        assert_eq!(
            timeout(SOON, recovers).await.expect("it recovers"),
            BTreeSet::from([2])
        );
    })
    .await;
}

#[tokio::test]
async fn commits_during_a_lost_connection_are_found_after_it_is_back() {
    on_postgres(async |db| {
        let process = Process::start(&db);
        listening(&db, 1).await;
        let broker = MemoryPublisher::new();
        commit(&OutboxConnection::new(db.clone())).await;
        let store = OutboxStore::new(db.clone());
        let relay = Relay::builder(store, broker.clone())
            .wake(&process.wake)
            .poll(LONG, LONG)
            .start()
            .unwrap();
        timeout(SOON, broker.wait_for(1))
            .await
            .expect("it looks once when it starts");
        commit(&OutboxConnection::new(db.clone())).await;
        db.execute_unprepared(&format!("SELECT pg_terminate_backend(pid) {LISTENING}"))
            .await
            .unwrap();
        timeout(SOON, broker.wait_for(2))
            .await
            .expect("it looks again");
        relay.stop().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_invalid_address_is_refused_and_a_silent_one_is_harmless() {
    let wake = Wake::new();
    assert!(PostgresWake::start("mysql://localhost/x", &wake).is_err());
    let bridge = PostgresWake::start("postgres://nobody:secret@127.0.0.1:1/x", &wake).unwrap();
    wake.wake(&[1]);
    tokio::task::yield_now().await;
    assert!(!format!("{bridge:?}").contains("secret"));
}
