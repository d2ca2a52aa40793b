//! Ledgers in the event store, the read models of two versions, and the processes that project.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use bento_relay::event_store::{Cursor, EventStore as _, Selection};
use bento_seaorm::{
    DatabaseEvents, OutboxConnection, OutboxStore, ProjectionKey, ProjectionState,
    ProjectionStatus, Projections,
};
use bento_tests::ledgers::{Credited, LEDGERS, Ledger};
use bento_tests::projecting::{NOTED, Point, Release};
use futures_util::TryStreamExt as _;
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use crate::support::TestDatabase;

/// Longer than any step takes; what does not end has failed.
pub const LIMIT: Duration = Duration::from_secs(120);

/// The events of one append.
const AT_ONCE: i64 = 500;

/// A number that a variable of the environment asks for.
pub fn asked(variable: &str, default: i64) -> i64 {
    let asked = std::env::var(variable).ok();
    asked.map_or(default, |asked| asked.parse().unwrap())
}

pub fn key(version: u32) -> ProjectionKey {
    ProjectionKey::new("balances", version)
}

/// The row of a ledger: key, cents, number of events.
pub type Balance = (i64, i64, i64);

/// A process, and what it tells.
pub struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Waits until it tells that it is at its point; false if it does not within a moment.
    pub async fn is_there(&mut self) -> bool {
        match timeout(Duration::from_millis(200), self.lines.next_line()).await {
            Ok(line) => line.unwrap().is_some() || panic!("it lives until it is killed"),
            Err(_) => false,
        }
    }

    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Lets it end what it has begun.
    pub async fn stop(mut self) {
        drop(self.child.stdin.take());
        let ended = timeout(LIMIT, self.child.wait()).await;
        assert!(ended.expect("it ends").unwrap().success());
    }
}

pub struct Scene<'a> {
    pub database: &'a TestDatabase,
    pub db: OutboxConnection,
    ledgers: Vec<Ledger>,
    turn: usize,
}

impl<'a> Scene<'a> {
    pub async fn on(database: &'a TestDatabase) -> Self {
        let columns = "id BIGINT NOT NULL PRIMARY KEY, cents BIGINT NOT NULL, entries BIGINT NOT \
                       NULL";
        for create in [
            &format!("CREATE TABLE balances_v1 ({columns})"),
            &format!("CREATE TABLE balances_v2 ({columns}, largest BIGINT NOT NULL)"),
            "CREATE TABLE noted (source VARCHAR(64) NOT NULL, version BIGINT NOT NULL)",
        ] {
            database.db.execute_unprepared(create).await.unwrap();
        }
        Self {
            database,
            db: OutboxConnection::new(database.connect(5).await),
            ledgers: (1..=LEDGERS)
                .map(|id| Ledger {
                    id,
                    ..Ledger::default()
                })
                .collect(),
            turn: 0,
        }
    }

    /// Appends this many events to a ledger, one after the other in turn.
    pub async fn append(&mut self, events: i64) {
        let turn = self.turn;
        let ledger = &mut self.ledgers[turn % LEDGERS as usize];
        for credit in 0..events {
            let is_noted = credit % 100 == 0 && (events > 100 || turn.is_multiple_of(8));
            ledger.credit(if is_noted { NOTED } else { credit % 7 + 1 });
        }
        let tx = self.db.begin().await.unwrap();
        tx.save(ledger).await.unwrap();
        tx.commit().await.unwrap();
        self.turn += 1;
    }

    /// Stores events that no relay has in its outbox any more.
    pub async fn with_history(&mut self, events: i64) {
        for _ in 0..events / AT_ONCE {
            self.append(AT_ONCE).await;
        }
        self.run("DELETE FROM bento_outbox").await;
    }

    /// Runs a statement. A process that was killed may still have one at the server, and MariaDB
    /// ends one of two that wait for each other: it is run again then.
    pub async fn run(&self, sql: &str) {
        while let Err(error) = self.database.db.execute_unprepared(sql).await {
            assert!(error.to_string().contains("Deadlock"), "{sql}: {error}");
        }
    }

    pub fn start(&self, release: Release, point: Point, call: u32, last: i64) -> Process {
        let (call, last) = (call.to_string(), last.to_string());
        let mut command = Command::new(env!("CARGO_BIN_EXE_projection_worker"));
        command
            .args([self.database.url(), release.name(), point.name()])
            .args([call, last])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("the process starts");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Process { child, lines }
    }

    pub fn steady(&self, release: Release) -> Process {
        self.start(release, Point::Never, 1, 0)
    }

    pub async fn rows(&self, sql: &str) -> Result<Vec<QueryResult>, DbErr> {
        let statement = Statement::from_string(self.database.backend(), sql);
        self.database.db.query_all_raw(statement).await
    }

    pub async fn number_of(&self, sql: &str) -> i64 {
        self.database.number(sql).await
    }

    pub async fn balances(&self, table: &str) -> Vec<Balance> {
        let sql = format!("SELECT id, cents, entries FROM {table} ORDER BY id");
        let rows = self.rows(&sql).await.unwrap();
        let read = |row: &QueryResult| {
            let get = |column| row.try_get_by_index::<i64>(column).unwrap();
            (get(0), get(1), get(2))
        };
        rows.iter().map(read).collect()
    }

    /// The balances that the stored events say, and the number of events that a version raises.
    pub async fn by_hand(&self) -> (Vec<Balance>, i64) {
        let events = DatabaseEvents::new(self.db.clone());
        let mut stream = std::pin::pin!(events.stream(Selection::All, Cursor::START));
        let mut balances: BTreeMap<i64, Balance> = BTreeMap::new();
        let mut noted = 0;
        while let Some(stored) = stream.try_next().await.unwrap() {
            let credited: Credited = stored.envelope.decode().unwrap();
            let id = stored.envelope.aggregate_id.parse().unwrap();
            let balance = balances.entry(id).or_insert((id, 0, 0));
            balance.1 += credited.cents;
            balance.2 += 1;
            noted += i64::from(credited.cents == NOTED);
        }
        (balances.into_values().collect(), noted)
    }

    pub async fn state(&self, version: u32) -> Option<ProjectionState> {
        let store = OutboxStore::new(self.database.db.clone());
        let states = Projections::new(store).list().await.unwrap();
        states.into_iter().find(|state| state.key == key(version))
    }

    pub async fn is_live(&self, version: u32) -> bool {
        let state = self.state(version).await;
        state.is_some_and(|state| state.status == ProjectionStatus::Live)
    }

    pub async fn until_live(&self, version: u32) {
        let look = async {
            while !self.is_live(version).await {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let live = timeout(LIMIT * 5, look).await;
        if live.is_err() {
            panic!("{:?}", self.state(version).await);
        }
    }

    /// Waits until relays have nothing left to bring.
    pub async fn until_drained(&self) {
        let look = async {
            let left = "SELECT count(*) FROM bento_outbox_status";
            while self.number_of(left).await > 0 {
                sleep(Duration::from_millis(50)).await;
            }
        };
        let drained = timeout(LIMIT, look).await;
        if drained.is_err() {
            panic!("{:?}", self.state(2).await.or(self.state(1).await));
        }
    }

    /// Asserts that a version has projected each stored event once, and raised what it raises once.
    pub async fn assert_exact(&self, version: u32, told: &str) {
        let (balances, noted) = self.by_hand().await;
        let table = format!("balances_v{version}");
        assert_eq!(self.balances(&table).await, balances, "{told}");
        let of = format!("FROM noted WHERE version = {version}");
        let raised = self.number_of(&format!("SELECT count(*) {of}")).await;
        assert_eq!(raised, noted, "{told}: raised");
        let sources = format!("SELECT count(DISTINCT source) {of}");
        assert_eq!(self.number_of(&sources).await, noted, "{told}: sources");
    }
}
