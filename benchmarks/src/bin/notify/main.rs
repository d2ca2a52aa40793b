//! `cargo run --release --bin notify [-- --rounds 40 --commits 2000 --clients 32]`
//!
//! The cost of waking relays elsewhere for those who commit, on PostgreSQL: many clients at
//! once, each transaction with a business row and an event. Without anybody to wake, with `Wake`
//! and `PostgresWake`, and with `NOTIFY` inside the transaction.

mod clients;
mod listeners;

use bento_benchmarks::cost::Meter;
use bento_benchmarks::database::{self, PostgresDatabase};
use bento_benchmarks::rounds::{Measure, Rounds, cell};
use bento_benchmarks::{Result, arguments, environment};

use crate::clients::Clients;
use crate::listeners::Listeners;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Contender {
    /// No relay is woken.
    Silent,
    /// As Bento does it: after the commit, on a connection of its own.
    Bento,
    /// `pg_notify` as a statement of each transaction.
    Inside,
}

use Contender::{Bento, Inside, Silent};

#[tokio::main]
async fn main() -> Result {
    tokio::spawn(run()).await?
}

async fn run() -> Result {
    arguments::expect_only(&["rounds", "commits", "clients"])?;
    let rounds = arguments::option("rounds", 40)?;
    let (commits, clients) = (
        arguments::option("commits", 2_000)?,
        arguments::option("clients", 32)?,
    );
    let database = PostgresDatabase::create().await?;
    let result = compare(&database, rounds, commits, clients).await;
    database.drop().await?;
    result
}

async fn compare(database: &PostgresDatabase, rounds: usize, commits: u32, clients: u32) -> Result {
    let pool = database.pool(clients, "on").await?;
    clients::create(&pool).await?;
    println!("{}\n", environment::line(&database::version(&pool).await?));
    let listeners = Listeners::start(&database.url()).await?;
    let contenders = Clients::new(&pool, &database.url(), clients)?;
    let mut measured = Rounds::new(&[Silent, Bento, Inside]);
    for contender in measured.turns(0) {
        contenders.commit(contender, commits).await?;
    }
    let meter = Meter::of(&pool).await?;
    for round in 0..rounds {
        for contender in measured.turns(round) {
            clients::empty(&pool).await?;
            let running = meter.start();
            contenders.commit(contender, commits).await?;
            measured.record(contender, running.stop());
            clients::verify(&pool, commits).await?;
        }
    }
    let (by_bento, inside) = listeners.heard()?;
    println!(
        "{clients} clients, {rounds} rounds of {commits} commits, synchronous_commit = on; \
         another session listens."
    );
    println!("It heard Bento {by_bento} times, and {inside} notifications from inside.\n");
    println!(
        "| clients | commits a second, of those without | by processor time | here: commits/s |"
    );
    println!("|---|---:|---:|---:|");
    let rows = [
        (Silent, "without a wake"),
        (Bento, "`Wake` and `PostgresWake`"),
        (Inside, "`NOTIFY` in the transaction"),
    ];
    for (contender, name) in rows {
        let speed = |measure| cell(measured.ratio(measure, Silent, contender));
        let rate = measured
            .median(Measure::Elapsed, contender)
            .map(|time| f64::from(commits) / time.as_secs_f64());
        let (elapsed, processor) = (speed(Measure::Elapsed), speed(Measure::Processor));
        println!(
            "| {name} | {elapsed} | {processor} | {} |",
            cell(rate.map(f64::round))
        );
    }
    Ok(())
}
