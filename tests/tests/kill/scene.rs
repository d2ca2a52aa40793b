//! An outbox, two relays of which the first one dies, and the ledger.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use bento_core::EventId;
use bento_seaorm::OutboxConnection;
use bento_testkit::{Account as Verdict, Ledger};
use bento_tests::kill::Point;
use bento_tests::{Account, Counted};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::support::TestDatabase;

/// The number of events that a round commits: one of each aggregate.
pub const PER_ROUND: usize = 20;
/// Longer than any step takes; what does not end has failed.
const LIMIT: Duration = Duration::from_secs(120);
const SIGABRT: i32 = 6;

pub struct Scene<'a> {
    database: &'a TestDatabase,
    outbox: OutboxConnection,
    ledger: Ledger,
    point: Point,
    /// The time at which the first relay was dead.
    died: Instant,
    /// The number of committed rounds.
    rounds: i64,
    times: BTreeMap<&'static str, Duration>,
}

impl<'a> Scene<'a> {
    pub async fn on(database: &'a TestDatabase, point: Point) -> Self {
        let id = match database.backend() {
            DbBackend::Postgres => "bigserial PRIMARY KEY",
            DbBackend::MySql => "bigint AUTO_INCREMENT PRIMARY KEY",
            _ => "integer PRIMARY KEY",
        };
        let columns = "relay varchar(40) NOT NULL, token varchar(40) NOT NULL, event_type \
                       varchar(40) NOT NULL";
        let table = format!("CREATE TABLE broker_log (id {id}, {columns})");
        database.db.execute_unprepared(&table).await.unwrap();
        let outbox = OutboxConnection::new(database.connect(2).await);
        Self {
            database,
            outbox,
            ledger: Ledger::new(),
            point,
            died: Instant::now(),
            rounds: 0,
            times: BTreeMap::new(),
        }
    }

    /// Commits this number of events of each aggregate, one of each in a transaction.
    pub async fn commit(&mut self, rounds: usize) {
        for _ in 0..rounds {
            let events: Vec<_> = (1..=PER_ROUND as i64)
                .map(|account| (account, EventId::new()))
                .collect();
            let raise = self.outbox.transaction_async(async |_| {
                for (account, event) in &events {
                    Account::new(*account).raise(Counted {
                        token: event.to_string(),
                    });
                }
                Ok::<_, DbErr>(())
            });
            raise.await.unwrap();
            self.rounds += 1;
            for (account, event) in events {
                self.ledger.commit(event, &account.to_string(), self.rounds);
            }
        }
    }

    /// The first relay works until it aborts by itself.
    pub async fn first_aborts(&mut self) {
        let relay = self.start("first", self.point);
        self.await_death(relay).await;
    }

    /// The first relay publishes everything, and is told to abort when it has settled.
    pub async fn first_drains_and_aborts(&mut self) {
        let mut relay = self.start("first", self.point);
        self.drained().await;
        relay
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"abort\n")
            .await
            .unwrap();
        self.await_death(relay).await;
    }

    /// As many events again are committed, and a second relay publishes all there is.
    pub async fn second_takes_over(&mut self) {
        let mut relay = self.start("second", Point::Never);
        self.commit(crate::ROUNDS).await;
        self.until(
            "SELECT count(*) FROM broker_log WHERE relay = 'second'",
            |count| count > 0,
        )
        .await;
        self.times
            .insert("first delivery after", self.died.elapsed());
        self.drained().await;
        self.times.insert("everything after", self.died.elapsed());
        drop(relay.stdin.take());
        assert!(
            in_time(relay.wait()).await.unwrap().success(),
            "the second relay ends well"
        );
    }

    /// Checks the account of all deliveries and tells it.
    pub async fn settle(&self) -> Verdict {
        let log = Statement::from_string(
            self.database.backend(),
            "SELECT token FROM broker_log ORDER BY id",
        );
        for row in self.database.db.query_all_raw(log).await.unwrap() {
            let token: String = row.try_get_by_index(0).unwrap();
            self.ledger
                .deliver(EventId::from(Uuid::parse_str(&token).unwrap()));
        }
        let verdict = self.ledger.check();
        let times: Vec<_> = self
            .times
            .iter()
            .map(|(what, time)| format!("{what} {} ms", time.as_millis()))
            .collect();
        self.tell(&format!(
            "killed {}: {verdict}; {}\n",
            self.point.name(),
            times.join(", ")
        ));
        verdict
    }

    /// The number of deliveries of the first relay that arrived; the last ones may arrive after its
    /// death.
    pub async fn delivered_by_first(&self) -> usize {
        self.database
            .number("SELECT count(*) FROM broker_log WHERE relay = 'first'")
            .await as usize
    }

    fn start(&self, name: &str, point: Point) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kill_relay"));
        command
            .args([name, self.database.url(), point.name()])
            .stdin(Stdio::piped())
            .stderr(Stdio::null());
        command
            .kill_on_drop(true)
            .spawn()
            .expect("the relay process starts")
    }

    async fn await_death(&mut self, mut relay: Child) {
        // Waiting would close it, which tells the relay to end.
        let _open = relay.stdin.take();
        let status = in_time(relay.wait()).await.unwrap();
        self.died = Instant::now();
        assert_eq!(
            status.signal(),
            Some(SIGABRT),
            "it aborts at the point: {status}"
        );
    }

    /// Waits until nothing is pending.
    async fn drained(&self) {
        self.until("SELECT count(*) FROM bento_outbox_status", |count| {
            count == 0
        })
        .await;
    }

    async fn until(&self, sql: &str, is_reached: impl Fn(i64) -> bool) {
        let reached = async {
            while !is_reached(self.database.number(sql).await) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        in_time(reached).await;
    }

    fn tell(&self, counts: &str) {
        let back_end = match self.database.backend() {
            DbBackend::Postgres => "postgres",
            DbBackend::MySql => "mysql",
            _ => "sqlite",
        };
        print!("{back_end}: {counts}");
        let file = format!("kill-{}-{back_end}.txt", self.point.name());
        std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(file), counts)
            .expect("cargo's directory for tests can be written");
    }
}

async fn in_time<F: Future>(step: F) -> F::Output {
    tokio::time::timeout(LIMIT, step)
        .await
        .expect("it ends in time")
}
