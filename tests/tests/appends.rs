//! Writers in two processes append to the same event-sourced aggregates and are killed in between:
//! no update is lost, no number is missing or repeated, and the outbox has each event once, in
//! order.
//!
//! `BENTO_TEST_APPENDS` is the number of appends, 1,000 by default.
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

use std::collections::HashSet;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bento_relay::event_store::{Cursor, EventStore as _, Selection};
use bento_seaorm::{DatabaseEvents, OutboxConnection};
use bento_tests::ledgers::{Credited, LEDGERS, Ledger, WRITERS};
use futures_util::TryStreamExt as _;
use sea_orm::{ConnectionTrait, Statement};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(concurrent_appends_lose_nothing);

/// The appends that the processes have told of: the ledger, and the number of the first event.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<(String, i64)>>>);

impl Told {
    fn number(&self) -> u64 {
        self.0.lock().unwrap().len() as u64
    }

    /// Starts a process, and notes what it tells.
    fn start(&self, url: &str, seed: u64) -> Child {
        let mut process = Command::new(env!("CARGO_BIN_EXE_ledger_writer"))
            .args([url, &seed.to_string()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let told = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let (ledger, number) = line.split_once(' ').unwrap();
                let append = (ledger.to_owned(), number.parse().unwrap());
                told.0.lock().unwrap().push(append);
            }
        });
        process
    }

    async fn until(&self, number: u64) {
        while self.number() < number {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

fn appends() -> u64 {
    let asked = std::env::var("BENTO_TEST_APPENDS").ok();
    asked.map_or(1_000, |appends| appends.parse().unwrap())
}

/// The ledgers and numbers of the events in a table, in its order.
async fn events_in(database: &TestDatabase, sql: &str) -> Vec<(String, i64)> {
    let statement = Statement::from_string(database.backend(), sql);
    let rows = database.db.query_all_raw(statement).await.unwrap();
    rows.iter()
        .map(|row| {
            (
                row.try_get_by_index(0).unwrap(),
                row.try_get_by_index(1).unwrap(),
            )
        })
        .collect()
}

/// The stored events, once the server has ended the transactions of the killed processes.
async fn settled(database: &TestDatabase) -> Vec<(String, i64)> {
    let stored = "SELECT aggregate_id, sequence FROM bento_event";
    let mut before = Vec::new();
    loop {
        let mut now = events_in(database, stored).await;
        now.sort();
        if now == before {
            return now;
        }
        before = now;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}

/// Asserts that events are those that are stored, those of each ledger in the order of their
/// numbers.
fn assert_same(mut events: Vec<(String, i64)>, stored: &[(String, i64)]) {
    // A stable sort keeps the order of each ledger.
    events.sort_by(|one, other| one.0.cmp(&other.0));
    let differs = events.iter().zip(stored).find(|(one, other)| one != other);
    assert_eq!(differs, None, "the first difference");
    assert_eq!(events.len(), stored.len());
}

async fn concurrent_appends_lose_nothing(database: &TestDatabase) {
    let (began, goal, told) = (Instant::now(), appends(), Told::default());
    let (mut seed, mut kills) = (0, 0);
    let mut next = || {
        seed += 1;
        told.start(database.url(), seed)
    };
    let mut processes = [next(), next()];
    // Each process is killed ten times, in turn.
    for kill in 1..20 {
        told.until(goal * kill / 20).await;
        let killed = &mut processes[(kill % 2) as usize];
        killed.kill().await.unwrap();
        kills += 1;
        *killed = next();
    }
    told.until(goal).await;
    for process in &mut processes {
        process.kill().await.unwrap();
    }

    let stored = settled(database).await;
    let mut of_each = stored.chunk_by(|one, other| one.0 == other.0);
    let is_dense = |events: &[(String, i64)]| {
        events
            .iter()
            .zip(1..)
            .all(|((_, sequence), number)| *sequence == number)
    };
    assert!(of_each.all(is_dense), "no hole, no repeated number");
    let stored_once: HashSet<_> = stored.iter().collect();
    let mut told_once = HashSet::new();
    for append in &*told.0.lock().unwrap() {
        assert!(
            stored_once.contains(append),
            "{append:?} was told and is lost"
        );
        assert!(
            told_once.insert(append.clone()),
            "{append:?} was told twice"
        );
    }
    let published = "SELECT aggregate_id, sequence FROM bento_outbox ORDER BY position";
    assert_same(events_in(database, published).await, &stored);

    let events = DatabaseEvents::new(OutboxConnection::new(database.db.clone()));
    let mut all = Vec::new();
    for ledger in 1..=LEDGERS {
        let of = Selection::of::<Ledger>(ledger);
        let mut balance = 0;
        let mut stream = std::pin::pin!(events.stream(of, Cursor::START));
        while let Some(event) = stream.try_next().await.unwrap() {
            let credited: Credited = event.envelope.decode().unwrap();
            assert_eq!(
                credited.seen, balance,
                "no update of ledger {ledger} is lost"
            );
            balance += credited.cents;
        }
        let loaded: Ledger = events.load(ledger).await.unwrap().unwrap();
        assert_eq!(loaded.balance, balance);
    }
    let mut stream = std::pin::pin!(events.stream(Selection::All, Cursor::START));
    while let Some(event) = stream.try_next().await.unwrap() {
        let envelope = event.envelope;
        all.push((envelope.aggregate_id, envelope.sequence.unwrap()));
    }
    assert_same(all, &stored);

    println!(
        "event store on {:?}: {} writers in 2 processes, {} ledgers, {} appends, {} events, killed \
         {kills} times; lost 0, holes 0, repeated 0; {} s",
        database.backend(),
        2 * WRITERS,
        LEDGERS,
        told.number(),
        stored.len(),
        began.elapsed().as_secs(),
    );
}
