//! Exactly once: processes with a handler are killed at each point where it matters, their
//! connections are cut and they are stopped beyond their leases, and every counter is exact.
//!
//! `BENTO_TEST_HANDLED` is the number of events (default 2,000); a thousandth of it is the
//! number of kills at each point, at least three. On SQLite, where there is one process at a time,
//! it is killed once for each 500 events (default 600 events and three kills). The counts are
//! printed, and written to `once-<back end>.txt` in cargo's directory for tests.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test that prints its counts"
)]
#![cfg(unix)]

#[path = "../../bento-seaorm/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use bento_seaorm::OutboxConnection;
use bento_tests::handling::{Counter, CounterRaised, LEASE, Point};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::{TestDatabase, in_database};

/// Longer than any step takes; what does not end has failed.
const LIMIT: Duration = Duration::from_secs(120);

/// The number of counters, each an aggregate.
const COUNTERS: i64 = 200;

/// The extent of a run.
#[derive(Clone, Copy, Debug)]
struct Extent {
    events: i64,
    /// The kills at each point.
    kills: u32,
    cuts: u32,
    stops: u32,
}

impl Extent {
    fn of(events: i64) -> Self {
        let share = u32::try_from(events / 1000).unwrap();
        Self {
            events,
            kills: share.max(3),
            cuts: (share * 2 / 5).max(2),
            stops: (share / 10).max(1),
        }
    }

    fn asked(default: i64) -> Self {
        Self::of(asked().unwrap_or(default))
    }
}

/// The number of events that is asked for.
fn asked() -> Option<i64> {
    let asked = std::env::var("BENTO_TEST_HANDLED").ok();
    asked.map(|events| events.parse().unwrap())
}

struct Scene<'a> {
    database: &'a TestDatabase,
    mode: &'static str,
    random: fastrand::Rng,
    /// The most calls of a process before it reaches its point.
    calls: u32,
    committed: i64,
    kills: BTreeMap<Point, u32>,
    cuts: u32,
    stops: u32,
}

impl<'a> Scene<'a> {
    async fn on(database: &'a TestDatabase, mode: &'static str) -> Self {
        let table = "CREATE TABLE counters (id BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL)";
        database.db.execute_unprepared(table).await.unwrap();
        for counter in 1..=COUNTERS {
            let insert = format!("INSERT INTO counters VALUES ({counter}, 0)");
            database.db.execute_unprepared(&insert).await.unwrap();
        }
        Self {
            database,
            mode,
            random: fastrand::Rng::with_seed(7),
            calls: 40,
            committed: 0,
            kills: BTreeMap::new(),
            cuts: 0,
            stops: 0,
        }
    }

    /// Commits the events in transactions of a hundred, a counter after the other.
    async fn commit(&mut self, events: i64) {
        let outbox = OutboxConnection::new(self.database.connect(2).await);
        let counters: Vec<_> = (0..events).map(|event| event % COUNTERS + 1).collect();
        for chunk in counters.chunks(100) {
            let work = outbox.transaction_async(async |_| {
                for &counter in chunk {
                    Counter::new(counter).raise(CounterRaised { counter });
                }
                Ok::<_, DbErr>(())
            });
            work.await.unwrap();
        }
        self.committed += events;
    }

    fn start(&mut self, point: Point) -> Child {
        let call = self.random.u32(1..self.calls).to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_handler_worker"));
        command
            .args([self.database.url(), point.name(), &call, self.mode])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        command.spawn().expect("the process starts")
    }

    /// Starts a process that reaches the point, and kills it there. More events are committed if
    /// nothing is left to handle.
    async fn kill_at(&mut self, point: Point) {
        let mut process = self.start(point);
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        loop {
            match tokio::time::timeout(Duration::from_millis(200), lines.next_line()).await {
                Ok(line) => break assert!(line.unwrap().is_some(), "it lives until it is killed"),
                Err(_) if self.left().await == 0 => self.commit(COUNTERS * 2).await,
                Err(_) => {}
            }
        }
        process.kill().await.unwrap();
        *self.kills.entry(point).or_default() += 1;
    }

    /// Breaks every other connection to the database.
    async fn cut(&mut self) {
        let db = &self.database.db;
        if self.database.is(DbBackend::Postgres) {
            let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = \
                       current_database() AND pid <> pg_backend_pid()";
            db.execute_unprepared(cut).await.unwrap();
        } else {
            let list = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND \
                        id <> CONNECTION_ID()";
            let list = Statement::from_string(DbBackend::MySql, list);
            for row in db.query_all_raw(list).await.unwrap() {
                let id: i64 = row.try_get_by_index(0).unwrap();
                // It may have ended in the meantime.
                let _ = db.execute_unprepared(&format!("KILL {id}")).await;
            }
        }
        self.cuts += 1;
    }

    /// Stops a process for longer than its lease, while its handlers run.
    async fn stop(&mut self, process: &Child) {
        signal(process, "-STOP").await;
        tokio::time::sleep(LEASE * 3).await;
        signal(process, "-CONT").await;
        self.stops += 1;
    }

    /// The points at which a process is killed. Without a record only one of them does harm.
    fn points(&self) -> &'static [Point] {
        if self.mode == "once" {
            &Point::DEADLY
        } else {
            &[Point::BeforeAdvance]
        }
    }

    async fn left(&self) -> i64 {
        self.database
            .number("SELECT count(*) FROM bento_outbox_status")
            .await
    }

    /// Two processes at a time: one that lives, and one that is killed, at one point after the
    /// other.
    async fn run(&mut self, extent: Extent) {
        let began = Instant::now();
        self.commit(extent.events).await;
        let steady = self.start(Point::Never);
        for kill in 0..extent.kills {
            for &point in self.points() {
                self.kill_at(point).await;
            }
            if self.mode == "once" && self.cuts * extent.kills <= kill * extent.cuts {
                self.cut().await;
            }
            if self.mode == "once" && self.stops * extent.kills <= kill * extent.stops {
                self.stop(&steady).await;
            }
        }
        self.drain(steady, began).await;
    }

    /// A process at a time, each of which is killed but for the last.
    async fn run_one_by_one(&mut self, kills: u32) {
        let began = Instant::now();
        for point in (0..kills).map(|kill| Point::DEADLY[kill as usize % Point::DEADLY.len()]) {
            self.kill_at(point).await;
        }
        let steady = self.start(Point::Never);
        self.drain(steady, began).await;
    }

    /// Waits until nothing is left to handle, and ends the last process.
    async fn drain(&self, mut steady: Child, began: Instant) {
        let reached = async {
            while self.left().await > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let in_time = tokio::time::timeout(LIMIT, reached).await;
        in_time.expect("everything is handled in time");
        drop(steady.stdin.take());
        let ended = tokio::time::timeout(LIMIT, steady.wait()).await;
        assert!(ended.expect("it ends").unwrap().success());
        self.tell(began.elapsed()).await;
    }

    /// The sum of the counters, and the number of them that are not as expected.
    async fn counted(&self) -> (i64, i64) {
        let each = self.committed / COUNTERS;
        assert_eq!(each * COUNTERS, self.committed, "each counter has as many");
        let wrong = format!("SELECT count(*) FROM counters WHERE n <> {each}");
        let total = match self.database.backend() {
            DbBackend::MySql => "SELECT CAST(sum(n) AS SIGNED) FROM counters",
            _ => "SELECT CAST(sum(n) AS BIGINT) FROM counters",
        };
        (
            self.database.number(total).await,
            self.database.number(&wrong).await,
        )
    }

    async fn tell(&self, took: Duration) {
        let (sum, wrong) = self.counted().await;
        let kills: Vec<_> = self
            .kills
            .iter()
            .map(|(point, kills)| format!("{kills} {}", point.name()))
            .collect();
        let counts = format!(
            "{}: {} events, counted {sum}, {wrong} counters wrong; killed {}; {} cuts, {} stops; \
             {} s\n",
            self.mode,
            self.committed,
            kills.join(", "),
            self.cuts,
            self.stops,
            took.as_secs()
        );
        print!("{counts}");
        let back_end = format!("{:?}", self.database.backend()).to_lowercase();
        let name = format!("{}-{back_end}.txt", self.mode);
        std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name), counts).unwrap();
    }
}

async fn signal(process: &Child, signal: &str) {
    let id = process.id().expect("it runs").to_string();
    let status = Command::new("kill").args([signal, &id]).status().await;
    assert!(status.unwrap().success());
}

async fn every_counter_is_exact(database: &TestDatabase, extent: Extent) {
    let mut scene = Scene::on(database, "once").await;
    scene.run(extent).await;
    assert_eq!(scene.counted().await, (scene.committed, 0));
    for point in Point::DEADLY {
        assert_eq!(scene.kills[&point], extent.kills, "{}", point.name());
    }
}

/// SQLite has one process at a time, so that nothing handles what a killed one has left but the
/// next.
async fn every_counter_is_exact_behind_killed_processes(database: &TestDatabase) {
    let events = asked().unwrap_or(600);
    let kills = u32::try_from(events / 500).unwrap().max(3);
    let mut scene = Scene::on(database, "once").await;
    scene.calls = u32::try_from(events).unwrap() / kills;
    scene.commit(events).await;
    scene.run_one_by_one(kills).await;
    assert_eq!(scene.counted().await, (scene.committed, 0));
    assert_eq!(scene.kills.values().sum::<u32>(), kills);
}

/// The same without the record of handled events, which has to fail.
async fn without_the_record_some_are_counted_twice(database: &TestDatabase) {
    let mut scene = Scene::on(database, "control").await;
    let extent = Extent::of(2000);
    scene.run(extent).await;
    let (sum, _) = scene.counted().await;
    assert!(sum > scene.committed, "{sum} of {}", scene.committed);
}

mod sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_event_is_handled_once() {
        in_database(
            DbBackend::Sqlite,
            every_counter_is_exact_behind_killed_processes,
        )
        .await;
    }
}

mod postgres {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_event_is_handled_once() {
        in_database(DbBackend::Postgres, async |database| {
            every_counter_is_exact(database, Extent::asked(2000)).await;
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_control_without_a_record_fails() {
        in_database(
            DbBackend::Postgres,
            without_the_record_some_are_counted_twice,
        )
        .await;
    }
}

mod mysql {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_event_is_handled_once() {
        in_database(DbBackend::MySql, async |database| {
            every_counter_is_exact(database, Extent::asked(2000)).await;
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_control_without_a_record_fails() {
        in_database(DbBackend::MySql, without_the_record_some_are_counted_twice).await;
    }
}
