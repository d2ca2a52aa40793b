//! `cargo run --release --bin runs [-- --rounds 5 --rows 20000]`
//!
//! A backlog in which 20 events of one aggregate follow each other, beside one in which every event
//! is of another aggregate, for a publisher that takes 2 ms for a call: once it chains, and once it
//! takes one event of an aggregate in a call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bento_benchmarks::cost::{Cost, Meter};
use bento_benchmarks::database::{self, PostgresDatabase};
use bento_benchmarks::rounds::{Measure, Rounds, cell};
use bento_benchmarks::{Result, arguments, environment};
use bento_relay::Relay;
use bento_relay::publish::{Delivery, Destination, PublishError, Publisher};
use bento_seaorm::OutboxStore;
use sqlx::{AssertSqlSafe, PgPool};

/// The duration of a call.
const CALL: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Contender {
    /// The number of events of an aggregate that follow each other.
    run: i64,
    chains: bool,
}

const fn contender(run: i64, chains: bool) -> Contender {
    Contender { run, chains }
}

/// Those of other aggregates first: the others are compared with them.
const CONTENDERS: [Contender; 4] = [
    contender(1, true),
    contender(20, true),
    contender(1, false),
    contender(20, false),
];

#[tokio::main]
async fn main() -> Result {
    tokio::spawn(run()).await?
}

async fn run() -> Result {
    arguments::expect_only(&["rounds", "rows"])?;
    let (rounds, rows) = (
        arguments::option("rounds", 5)?,
        arguments::option("rows", 20_000)?,
    );
    let database = PostgresDatabase::create().await?;
    let result = compare(&database, rows, rounds).await;
    database.drop().await?;
    result
}

async fn compare(database: &PostgresDatabase, rows: i64, rounds: usize) -> Result {
    let pool = database.pool(4, "on").await?;
    bento_seaorm::migrate(&pool.clone().into()).await?;
    println!("{}\n", environment::line(&database::version(&pool).await?));
    let mut measured = Rounds::new(&CONTENDERS);
    let mut calls = [0; CONTENDERS.len()];
    for round in 0..rounds {
        for contender in measured.turns(round) {
            let (cost, made) = drain(contender, rows, &pool).await?;
            measured.record(contender, cost);
            let index = CONTENDERS
                .iter()
                .position(|other| *other == contender)
                .expect("it is one of them");
            calls[index] = made;
        }
    }
    println!("{rows} rows, {rounds} rounds, {CALL:?} for a call, synchronous_commit = on\n");
    println!(
        "| publisher | of an aggregate in a row | of the speed of other aggregates | here: \
         events/s | calls |"
    );
    println!("|---|---:|---:|---:|---:|");
    for (contender, calls) in CONTENDERS.into_iter().zip(calls) {
        let other_aggregates = Contender {
            run: 1,
            ..contender
        };
        let rate = measured
            .median(Measure::Elapsed, contender)
            .map(|time| rows as f64 / time.as_secs_f64());
        println!(
            "| {} | {} | {} | {} | {calls} |",
            if contender.chains {
                "chains"
            } else {
                "does not chain"
            },
            contender.run,
            cell(measured.ratio(Measure::Elapsed, other_aggregates, contender)),
            cell(rate.map(f64::round)),
        );
    }
    Ok(())
}

/// Fills the outbox, and takes the cost until its last event is published and gone. Returns the
/// number of calls as well.
async fn drain(contender: Contender, rows: i64, pool: &PgPool) -> Result<(Cost, u64)> {
    let fill = format!(
        "INSERT INTO bento_outbox (shard, event_id, event_type, schema_version, aggregate_type,
             aggregate_id, occurred_at, payload)
         SELECT aggregate % 16, gen_random_uuid(), 'order.placed', 1, 'order',
             'order-' || aggregate, now(), '{{}}'
         FROM (SELECT i / {} AS aggregate FROM generate_series(0, {rows} - 1) i ORDER BY i) rows",
        contender.run
    );
    for sql in [
        "TRUNCATE bento_outbox".to_owned(),
        "CHECKPOINT".to_owned(),
        fill,
        "VACUUM (ANALYZE) bento_outbox".to_owned(),
    ] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await?;
    }
    let slow = Slow {
        chains: contender.chains,
        counts: Arc::default(),
    };
    let counts = Arc::clone(&slow.counts);
    let meter = Meter::of(pool).await?;
    let running = meter.start();
    Relay::builder(OutboxStore::new(pool.clone().into()), slow)
        .run_until_empty()
        .await?;
    let cost = running.stop();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM bento_outbox")
        .fetch_one(pool)
        .await?;
    let published = counts.events.load(Ordering::Relaxed);
    if left != 0 || published != rows.unsigned_abs() {
        return Err(format!("{published} of {rows} events were published, {left} are left").into());
    }
    Ok((cost, counts.calls.load(Ordering::Relaxed)))
}

#[derive(Debug, Default)]
struct Counts {
    events: AtomicU64,
    calls: AtomicU64,
}

/// Confirms everything after 2 ms.
#[derive(Debug)]
struct Slow {
    chains: bool,
    counts: Arc<Counts>,
}

impl Publisher for Slow {
    async fn publish(&self, batch: &[Delivery]) -> Vec<std::result::Result<(), PublishError>> {
        tokio::time::sleep(CALL).await;
        self.counts
            .events
            .fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.counts.calls.fetch_add(1, Ordering::Relaxed);
        batch.iter().map(|_| Ok(())).collect()
    }

    fn chains(&self, _destination: &Destination) -> bool {
        self.chains
    }
}
