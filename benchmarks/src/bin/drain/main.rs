//! `cargo run --release --bin drain [-- --rounds 3 --rows 200000 --batch 200]`
//!
//! How long a backlog takes to leave the outbox of a PostgreSQL database for a publisher that does
//! nothing: by Bento's relay, by a plain loop that reads in order and deletes, and by the usual
//! outbox that claims and marks by UPDATE.

mod bento;
mod claim_and_mark;
mod outbox;
mod plain_loop;

use std::sync::Arc;

use bento_benchmarks::cost::{Cost, Meter};
use bento_benchmarks::database::{self, PostgresDatabase};
use bento_benchmarks::rounds::{Measure, Rounds, cell};
use bento_benchmarks::{Result, arguments, environment};
use sqlx::PgPool;

use crate::outbox::{Outbox, Published};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Contender {
    /// The relay with one worker: one batch at a time, as the loop has it.
    OneWorker,
    /// The relay as it is by default.
    Bento,
    PlainLoop,
    ClaimAndMark,
}

use Contender::{Bento, ClaimAndMark, OneWorker, PlainLoop};

/// Everything runs on a worker of the runtime: between the main thread and the workers each answer
/// of the database would cost the contenders that stay on the main thread a change of threads.
#[tokio::main]
async fn main() -> Result {
    tokio::spawn(run()).await?
}

async fn run() -> Result {
    arguments::expect_only(&["rounds", "rows", "batch"])?;
    let rounds = arguments::option("rounds", 3)?;
    let outbox = Outbox {
        rows: arguments::option("rows", 200_000)?,
        batch: arguments::option("batch", 200)?,
    };
    let database = PostgresDatabase::create().await?;
    let result = compare(&database, &outbox, rounds).await;
    database.drop().await?;
    result
}

async fn compare(database: &PostgresDatabase, outbox: &Outbox, rounds: usize) -> Result {
    let pool = database.pool(1, "on").await?;
    let relay_pool = database.pool(4, "on").await?;
    outbox.create(&pool).await?;
    println!("{}\n", environment::line(&database::version(&pool).await?));
    let mut measured = Rounds::new(&[OneWorker, Bento, PlainLoop, ClaimAndMark]);
    for round in 0..rounds {
        for contender in measured.turns(round) {
            measured.record(
                contender,
                outbox.drain(contender, &pool, &relay_pool).await?,
            );
        }
    }
    print(outbox, rounds, &measured);
    Ok(())
}

fn print(outbox: &Outbox, rounds: usize, measured: &Rounds<Contender>) {
    println!(
        "{} rows, batches of {}, {rounds} rounds, synchronous_commit = on\n",
        outbox.rows, outbox.batch
    );
    println!(
        "| drain | of the plain loop's speed | by processor time | times claim-and-mark's | by \
         processor time | here: events/s | µs of processor per event | of it here |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    let rows = [
        (OneWorker, "Bento, one worker"),
        (Bento, "Bento"),
        (PlainLoop, "plain loop"),
        (ClaimAndMark, "claim and mark"),
    ];
    for (contender, name) in rows {
        let speed = |measure, of| cell(measured.ratio(measure, of, contender));
        let rate = measured
            .median(Measure::Elapsed, contender)
            .map(|time| outbox.rows as f64 / time.as_secs_f64());
        let micros = |measure| {
            let time = measured.median(measure, contender);
            cell(time.map(|time| format!("{:.1}", time.as_secs_f64() * 1e6 / outbox.rows as f64)))
        };
        println!(
            "| {name} | {} | {} | {} | {} | {} | {} | {} |",
            speed(Measure::Elapsed, PlainLoop),
            speed(Measure::Processor, PlainLoop),
            speed(Measure::Elapsed, ClaimAndMark),
            speed(Measure::Processor, ClaimAndMark),
            cell(rate.map(f64::round)),
            micros(Measure::Processor),
            micros(Measure::Client),
        );
    }
}

impl Outbox {
    /// Fills the contender's table, and takes the cost until the last event is published and gone.
    async fn drain(
        &self,
        contender: Contender,
        pool: &PgPool,
        relay_pool: &PgPool,
    ) -> Result<Cost> {
        let table = if contender == ClaimAndMark {
            outbox::CLAIM_TABLE
        } else {
            outbox::TABLE
        };
        self.fill(table, pool).await?;
        let published = Arc::new(Published::default());
        let meter = Meter::of(pool).await?;
        let running = meter.start();
        match contender {
            OneWorker => bento::drain(relay_pool, self.batch, Some(1), &published).await?,
            Bento => bento::drain(relay_pool, self.batch, None, &published).await?,
            PlainLoop => plain_loop::drain(pool, self.batch, &published).await?,
            ClaimAndMark => claim_and_mark::drain(pool, self.batch, &published).await?,
        }
        let cost = running.stop();
        self.verify(table, &published, pool).await?;
        Ok(cost)
    }
}
