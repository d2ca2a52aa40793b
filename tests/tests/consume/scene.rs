//! A service with an outbox, its relay to a broker, and processes that consume.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bento_relay::publish::Publishers;
use bento_relay::route::{Router, Rule, Transform};
use bento_relay::{Relay, RelayHandle};
use bento_seaorm::{Inbox, OutboxConnection, OutboxStore};
use bento_tests::consuming::{COPIES, COPY, MANY, Noted, ONE, Point, Raised, Register, TOPIC};
use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, Statement};

use crate::broker::{Broker, Kind};
use crate::process::{LIMIT, Process, Tally};
use crate::support::TestDatabase;

/// The number of counters, each an aggregate.
pub const COUNTERS: i64 = 200;

pub struct Scene<'a> {
    pub database: &'a TestDatabase,
    pub broker: Broker,
    pub processes: Processes,
    outbox: OutboxConnection,
    /// The events of each counter.
    pub rounds: i64,
    /// The notes of each counter.
    pub notes: i64,
}

/// The order to a process of the test, which it gets when it starts.
#[derive(Clone)]
pub struct Processes {
    database: String,
    kind: Kind,
    url: String,
    name: String,
    log: PathBuf,
    pub tally: Arc<Tally>,
}

/// A table of counters as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub sum: i64,
    /// The counters that have another number of events than they should.
    pub inexact: i64,
    /// The events that were not the next one of their counter.
    pub wrong: i64,
}

impl<'a> Scene<'a> {
    pub async fn on(database: &'a TestDatabase, broker: Broker) -> Self {
        for table in ["one", "many", "notes", "copies"] {
            let create = format!(
                "CREATE TABLE {table} (id BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL, \
                 last_number BIGINT NOT NULL, wrong BIGINT NOT NULL)"
            );
            database.db.execute_unprepared(&create).await.unwrap();
            let rows = (1..=COUNTERS).map(|counter| format!("({counter}, 0, 0, 0)"));
            let rows = rows.collect::<Vec<_>>().join(", ");
            let insert = format!("INSERT INTO {table} VALUES {rows}");
            database.db.execute_unprepared(&insert).await.unwrap();
        }
        let outbox = OutboxConnection::new(database.connect(2).await);
        let processes = Processes {
            database: database.url().to_owned(),
            kind: broker.kind,
            url: broker.url().to_owned(),
            name: broker.name.clone(),
            log: file(database, broker.kind, "processes", "log"),
            tally: Arc::default(),
        };
        // Those of an earlier run.
        let _ = std::fs::remove_file(&processes.log);
        Self {
            database,
            broker,
            processes,
            outbox,
            rounds: 0,
            notes: 0,
        }
    }

    /// The relay of the service, to the broker.
    pub async fn relay(&self) -> RelayHandle {
        let [events, _] = self.broker.destinations();
        let router = Router::builder().destination(events);
        self.relay_by(
            router
                .rule(Rule::new("events").to([TOPIC]))
                .build()
                .unwrap(),
        )
        .await
    }

    /// The relay of a service that also sends a copy of each event.
    pub async fn relay_with_copies(&self) -> RelayHandle {
        let [events, copies] = self.broker.destinations();
        let transform = Transform::default();
        let transform = transform.rename("counter", "key").event_type(COPY, 1);
        let router = Router::builder()
            .destination(events)
            .destination(copies)
            .rule(Rule::new("events").to([TOPIC]))
            .rule(Rule::new("copies").to([COPIES]).transform(transform));
        self.relay_by(router.build().unwrap()).await
    }

    async fn relay_by(&self, router: Router) -> RelayHandle {
        let publishers = Publishers::new().with("broker", self.broker.publisher());
        let store = OutboxStore::new(self.database.connect(4).await);
        let relay = Relay::builder(store, publishers).router(router);
        let (busy, idle) = (Duration::from_millis(5), Duration::from_millis(50));
        relay.poll(busy, idle).start().unwrap()
    }

    /// Commits this number of events of each counter.
    pub async fn commit(&mut self, rounds: i64) {
        for _ in 0..rounds {
            self.rounds += 1;
            let number = self.rounds;
            let work = self.outbox.transaction_async(async |_| {
                for counter in 1..=COUNTERS {
                    Register::new(counter).raise(Raised { counter, number });
                }
                Ok::<_, DbErr>(())
            });
            work.await.unwrap();
        }
    }

    /// Commits an event and a note of each counter.
    pub async fn commit_with_notes(&mut self) {
        self.rounds += 1;
        self.notes += 1;
        let (number, noted) = (self.rounds, self.notes);
        let work = self.outbox.transaction_async(async |_| {
            for counter in 1..=COUNTERS {
                let mut own = Register::new(counter);
                own.raise(Raised { counter, number });
                own.raise(Noted {
                    counter,
                    number: noted,
                });
            }
            Ok::<_, DbErr>(())
        });
        work.await.unwrap();
    }

    pub fn committed(&self) -> i64 {
        self.rounds * COUNTERS
    }

    pub async fn number(&self, sql: &str) -> i64 {
        self.database.number(sql).await
    }

    /// The events that a handler has counted.
    pub async fn sum(&self, table: &str) -> i64 {
        let kind = match self.database.backend() {
            DbBackend::MySql => "SIGNED",
            _ => "BIGINT",
        };
        self.number(&format!("SELECT CAST(sum(n) AS {kind}) FROM {table}"))
            .await
    }

    pub async fn counted(&self, table: &str, each: i64) -> Counted {
        let inexact = format!("SELECT count(*) FROM {table} WHERE n <> {each}");
        let wrong = format!("SELECT count(*) FROM {table} WHERE wrong <> 0");
        Counted {
            sum: self.sum(table).await,
            inexact: self.number(&inexact).await,
            wrong: self.number(&wrong).await,
        }
    }

    /// Asserts that each counter of a table has this number of events, in their order.
    pub async fn assert_exact(&self, table: &str, each: i64) {
        let exact = Counted {
            sum: each * COUNTERS,
            inexact: 0,
            wrong: 0,
        };
        assert_eq!(self.counted(table, each).await, exact, "`{table}`");
    }

    /// The number of events and messages that are still on their way.
    pub async fn left(&self) -> i64 {
        let outbox = "SELECT count(*) FROM bento_outbox_status";
        let inbox = "SELECT count(*) FROM bento_inbox_status";
        // From the front to the back: what moves in the meantime is counted twice, never missed.
        let outbox = self.number(outbox).await;
        let place = "SELECT place FROM bento_source";
        let place = Statement::from_string(self.database.backend(), place);
        let place = self.database.db.query_one_raw(place).await.unwrap();
        let place = place.and_then(|row| row.try_get_by_index(0).unwrap());
        let broker = i64::try_from(self.broker.left(place).await).unwrap();
        outbox + broker + self.number(inbox).await
    }

    /// Waits until something is so.
    pub async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let waiting = async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(LIMIT, waiting).await.is_err() {
            panic!(
                "{what} in time: {} committed, {:?}, {:?}, {} left, {:?}",
                self.committed(),
                self.counted("one", self.rounds).await,
                self.counted("many", self.rounds).await,
                self.left().await,
                Inbox::new(self.database.db.clone()).sources().await,
            );
        }
    }

    /// Waits until these tables have everything that was committed, as long as they get more.
    pub async fn drained_of(&self, tables: &[&str]) {
        let rounds = tables.iter().map(|table| match *table {
            "notes" => self.notes,
            _ => self.rounds,
        });
        let all = rounds.sum::<i64>() * COUNTERS;
        let mut handled = self.handled(tables).await;
        while handled < all {
            self.until("more is handled", async || {
                self.handled(tables).await > handled
            })
            .await;
            handled = self.handled(tables).await;
        }
    }

    /// The events that these tables have together.
    async fn handled(&self, tables: &[&str]) -> i64 {
        let mut sum = 0;
        for table in tables {
            sum += self.sum(table).await;
        }
        sum
    }

    /// Waits until the handlers have everything and nothing is left.
    pub async fn drained(&self) {
        self.drained_of(&["one", "many"]).await;
        self.until("nothing is left", async || self.left().await == 0)
            .await;
    }

    /// Asserts that nothing became a dead letter.
    pub async fn assert_none_dead(&self) {
        for table in ["bento_dead_letter", "bento_inbox_dead_letter"] {
            let dead = self.number(&format!("SELECT count(*) FROM {table}")).await;
            assert_eq!(dead, 0, "`{table}`");
        }
    }

    /// The messages that came, and came again.
    pub fn messages(&self, of: i64) -> String {
        let load = |count: &std::sync::atomic::AtomicI64| count.load(Ordering::SeqCst);
        let tally = &self.processes.tally;
        format!(
            "{} messages received, {} of them again, {} known to the inbox; {} processes ended \
             by themselves",
            load(&tally.received),
            load(&tally.received) - of,
            load(&tally.repeated),
            tally.ended.load(Ordering::SeqCst),
        )
    }

    pub fn tell(&self, what: &str, counts: &str) {
        let back_end = format!("{:?}", self.database.backend()).to_lowercase();
        let counts = format!(
            "{what}, {} to {back_end}: {counts}\n",
            self.broker.kind.name()
        );
        print!("{counts}");
        let path = file(self.database, self.broker.kind, what, "txt");
        std::fs::write(path, counts).unwrap();
    }

    /// Breaks every other connection to the database.
    pub async fn cut_database(&self) {
        let db = &self.database.db;
        if self.database.is(DbBackend::Postgres) {
            let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = \
                       current_database() AND pid <> pg_backend_pid()";
            db.execute_unprepared(cut).await.unwrap();
            return;
        }
        let list = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> \
                    CONNECTION_ID()";
        let list = Statement::from_string(DbBackend::MySql, list);
        for row in db.query_all_raw(list).await.unwrap() {
            let id: i64 = row.try_get_by_index(0).unwrap();
            // It may have ended in the meantime.
            let _ = db.execute_unprepared(&format!("KILL {id}")).await;
        }
    }
}

impl Processes {
    /// Starts a process with the two handlers of counters.
    pub fn start(&self, point: Point, call: u32) -> Process {
        self.start_with(&[ONE, MANY], point, call, "once")
    }

    pub fn start_with(&self, handlers: &[&str], point: Point, call: u32, mode: &str) -> Process {
        let (handlers, call) = (handlers.join(","), call.to_string());
        let arguments = [
            &*self.database,
            self.kind.name(),
            &self.url,
            &self.name,
            &handlers,
            point.name(),
            &call,
            mode,
        ];
        let mut options = OpenOptions::new();
        let log = options.create(true).append(true).open(&self.log).unwrap();
        Process::start(&arguments, log, &self.tally)
    }
}

fn file(database: &TestDatabase, kind: Kind, what: &str, extension: &str) -> PathBuf {
    let back_end = format!("{:?}", database.backend()).to_lowercase();
    let name = format!("consume-{what}-{}-{back_end}.{extension}", kind.name());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}
