//! `cargo run --release --bin pickup [-- --rounds 3 --samples 150 --from 20 --to 50]`
//!
//! The time of an event from its commit to the publisher of an idle relay, on PostgreSQL: in the
//! same process, and in another one that polls, or is woken by notifications as well. The other
//! process is this program again, with a pool of its own.

mod other;
mod probe;

use std::collections::HashMap;
use std::time::Duration;

use bento_benchmarks::database::{self, PostgresDatabase};
use bento_benchmarks::order::Order;
use bento_benchmarks::rounds::{Rounds, quantile};
use bento_benchmarks::{Result, arguments, environment};
use bento_relay::{Relay, Wake};
use bento_seaorm::wake::PostgresWake;
use bento_seaorm::{OutboxConnection, OutboxStore};
use sea_orm::DbErr;
use sqlx::PgPool;

use crate::other::Other;
use crate::probe::{Probe, now};

/// The time at the start whose events do not count: leases are claimed, connections are opened.
const WARM_UP: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Contender {
    /// A relay beside the writer, and a `Wake`.
    SameProcess,
    /// A relay in another process, which polls.
    Polls,
    /// A relay in another process, and a `PostgresWake` in both.
    Notified,
}

use Contender::{Notified, Polls, SameProcess};

const ROWS: [(Contender, &str); 3] = [
    (SameProcess, "same process, `Wake`"),
    (Notified, "another process, `PostgresWake`"),
    (Polls, "another process, it polls"),
];

/// The number of events, and the times at which they are committed.
struct Traffic {
    samples: usize,
    /// Milliseconds between two commits, at least and at most.
    pause: (u64, u64),
}

#[tokio::main]
async fn main() -> Result {
    tokio::spawn(run()).await?
}

async fn run() -> Result {
    arguments::expect_only(&[
        "rounds",
        "samples",
        "from",
        "to",
        other::ROLE,
        other::ADDRESS,
    ])?;
    let role = arguments::option(other::ROLE, String::new())?;
    if !role.is_empty() {
        return other::serve(&role, &arguments::option(other::ADDRESS, String::new())?).await;
    }
    let rounds = arguments::option("rounds", 3)?;
    let pause = (arguments::option("from", 20)?, arguments::option("to", 50)?);
    let traffic = Traffic {
        samples: arguments::option("samples", 150)?,
        pause,
    };
    let database = PostgresDatabase::create().await?;
    let result = compare(&database, &traffic, rounds).await;
    database.drop().await?;
    result
}

async fn compare(database: &PostgresDatabase, traffic: &Traffic, rounds: usize) -> Result {
    let pool = database.pool(5, "on").await?;
    bento_seaorm::migrate(&pool.clone().into()).await?;
    println!("{}\n", environment::line(&database::version(&pool).await?));
    let order = Rounds::new(&ROWS.map(|(contender, _)| contender));
    let mut waits: HashMap<&str, Vec<f64>> = HashMap::new();
    for round in 0..rounds {
        for contender in order.turns(round) {
            let name = ROWS
                .iter()
                .find(|(other, _)| *other == contender)
                .map_or("", |(_, name)| name);
            waits
                .entry(name)
                .or_default()
                .extend(turn(contender, database, &pool, traffic).await?);
        }
    }
    let Traffic {
        samples,
        pause: (from, to),
    } = traffic;
    println!(
        "{rounds} rounds of {samples} events, one every {from} to {to} ms, synchronous_commit = \
         on\n"
    );
    println!("| relay | median | p95 | p99 | longest |\n|---|---:|---:|---:|---:|");
    for (_, name) in ROWS {
        let waits = waits.get_mut(name).ok_or("every contender had a turn")?;
        waits.sort_by(f64::total_cmp);
        let [median, p95, p99, longest] = [0.5, 0.95, 0.99, 1.0].map(|at| quantile(waits, at));
        println!("| {name} | {median:.1} ms | {p95:.1} ms | {p99:.1} ms | {longest:.1} ms |");
    }
    Ok(())
}

/// The milliseconds from each commit to its publisher.
async fn turn(
    contender: Contender,
    database: &PostgresDatabase,
    pool: &PgPool,
    traffic: &Traffic,
) -> Result<Vec<f64>> {
    let wake = Wake::new();
    let connection = OutboxConnection::builder(pool.clone().into())
        .wake(&wake)
        .build();
    let (committed, picked_up) = match contender {
        SameProcess => {
            let (probe, relay_pool) = (Probe::default(), database.pool(5, "on").await?);
            let store = OutboxStore::new(relay_pool.into());
            let relay = Relay::builder(store, probe.clone()).wake(&wake).start()?;
            let committed = traffic.run(&connection).await?;
            relay.stop().await?;
            (committed, probe.picked_up())
        }
        Polls => {
            let other = Other::start(other::POLLS, &database.url())?;
            (traffic.run(&connection).await?, other.stop()?)
        }
        Notified => {
            let _passes_on = PostgresWake::start(&database.url(), &wake)?;
            let other = Other::start(other::NOTIFIED, &database.url())?;
            (traffic.run(&connection).await?, other.stop()?)
        }
    };
    // A publisher may be called before the writer's task runs again: that does not count as a wait.
    let wait = |(order, at): (&String, &Duration)| {
        Some(picked_up.get(order)?.saturating_sub(*at).as_secs_f64() * 1e3)
    };
    let waits: Option<Vec<f64>> = committed.iter().map(wait).collect();
    waits.ok_or_else(|| "an event was not picked up".into())
}

impl Traffic {
    /// Commits, and says when each call returned.
    async fn run(&self, connection: &OutboxConnection) -> Result<HashMap<String, Duration>> {
        let begun = now();
        while now() < begun + WARM_UP {
            self.commit(connection).await?;
        }
        let mut committed = HashMap::new();
        while committed.len() < self.samples {
            let (order, at) = self.commit(connection).await?;
            committed.insert(order, at);
        }
        // Longer than any poll.
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(committed)
    }

    async fn commit(&self, connection: &OutboxConnection) -> Result<(String, Duration)> {
        let (from, to) = self.pause;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(from..=to))).await;
        let mut order = Order::new();
        let id = order.id.to_string();
        connection
            .transaction_async(async move |_| {
                order.raise_many(1);
                Ok::<_, DbErr>(())
            })
            .await?;
        Ok((id, now()))
    }
}
