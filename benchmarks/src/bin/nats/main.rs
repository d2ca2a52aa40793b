//! `cargo run --release --bin nats [-- --rounds 5 --rows 100000 --batch 1000 --workers 4]`
//!
//! The time a backlog takes from the outbox of a PostgreSQL database to a stream of NATS JetStream
//! that acknowledges each event: by Bento's relay, as it is by default and with the batches and
//! workers of the arguments, and by a bare client that has the same messages in memory and does
//! nothing but send them and wait for the acknowledgements.

mod bare;
mod outbox;
#[allow(dead_code, reason = "another benchmark uses the rest")]
mod stream;

use bento_benchmarks::cost::{Cost, Meter};
use bento_benchmarks::database::{self, PostgresDatabase};
use bento_benchmarks::rounds::{Measure, Rounds, cell};
use bento_benchmarks::{Result, arguments, environment};
use bento_brokers::nats::NatsPublisher;
use bento_relay::Relay;
use bento_seaorm::OutboxStore;
use sqlx::PgPool;

use crate::bare::Parts;
use crate::stream::Stream;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Contender {
    /// The relay as it is by default.
    Bento,
    /// The relay with larger batches.
    Tuned,
    /// The client alone, which makes its messages of names, values and bodies.
    Bare,
    /// The client alone, with messages made before the clock runs.
    Prepared,
}

use Contender::{Bare, Bento, Prepared, Tuned};

/// The settings that favour throughput.
#[derive(Clone, Copy, Debug)]
struct Settings {
    batch: usize,
    workers: usize,
}

#[tokio::main]
async fn main() -> Result {
    tokio::spawn(run()).await?
}

async fn run() -> Result {
    arguments::expect_only(&["rounds", "rows", "batch", "workers"])?;
    let (rounds, rows) = (
        arguments::option("rounds", 5)?,
        arguments::option("rows", 100_000)?,
    );
    let tuned = Settings {
        batch: arguments::option("batch", 1_000)?,
        workers: arguments::option("workers", 4)?,
    };
    let stream = Stream::connect().await?;
    let database = PostgresDatabase::create().await?;
    let result = compare(&database, &stream, tuned, rounds, rows).await;
    stream.drop().await?;
    database.drop().await?;
    result
}

async fn compare(
    database: &PostgresDatabase,
    stream: &Stream,
    tuned: Settings,
    rounds: usize,
    rows: u32,
) -> Result {
    let pool = database.pool(tuned.workers.max(4) as u32, "on").await?;
    outbox::create(&pool, rows).await?;
    let versions = format!(
        "{}, NATS {}",
        database::version(&pool).await?,
        stream.version()
    );
    println!("{}\n", environment::line(&versions));
    let mut measured = Rounds::new(&[Bento, Tuned, Bare, Prepared]);
    for round in 0..rounds {
        for contender in measured.turns(round) {
            measured.record(
                contender,
                turn(contender, &pool, stream, tuned, rows).await?,
            );
        }
    }
    println!("{rows} events, {rounds} rounds, streams in files, synchronous_commit = on\n");
    println!(
        "| to NATS | of the bare client's speed | of the prepared one's | here: events/s | µs of \
         processor per event |"
    );
    println!("|---|---:|---:|---:|---:|");
    let name = format!(
        "Bento, {} workers, batches of {}",
        tuned.workers, tuned.batch
    );
    let rows_of = [
        (Bento, "Bento"),
        (Tuned, &name),
        (Bare, "bare client"),
        (Prepared, "bare client, messages prepared"),
    ];
    for (contender, name) in rows_of {
        let speed = |of| cell(measured.ratio(Measure::Elapsed, of, contender));
        let rate = measured
            .median(Measure::Elapsed, contender)
            .map(|time| f64::from(rows) / time.as_secs_f64());
        let micros = measured
            .median(Measure::Processor, contender)
            .map(|time| time.as_secs_f64() * 1e6 / f64::from(rows));
        let (rate, micros) = (
            cell(rate.map(f64::round)),
            cell(micros.map(|micros| format!("{micros:.1}"))),
        );
        println!(
            "| {name} | {} | {} | {rate} | {micros} |",
            speed(Bare),
            speed(Prepared)
        );
    }
    Ok(())
}

/// Makes the stream anew, and takes the cost until the last event is acknowledged.
async fn turn(
    contender: Contender,
    pool: &PgPool,
    stream: &Stream,
    tuned: Settings,
    rows: u32,
) -> Result<Cost> {
    stream.make_anew().await?;
    let publisher = NatsPublisher::new(stream.settings())?;
    let meter = Meter::of(pool).await?;
    let cost = match contender {
        Bento | Tuned => {
            outbox::fill(pool).await?;
            let relay = Relay::builder(OutboxStore::new(pool.clone().into()), publisher);
            let relay = if contender == Tuned {
                relay.batch(tuned.batch).workers(tuned.workers)
            } else {
                relay
            };
            let running = meter.start();
            relay.run_until_empty().await?;
            running.stop()
        }
        Bare => {
            let parts = bare::parts(&outbox::envelopes(pool).await?, stream)?;
            let running = meter.start();
            bare::publish(stream.context(), parts.into_iter().map(Parts::message)).await?;
            running.stop()
        }
        Prepared => {
            let parts = bare::parts(&outbox::envelopes(pool).await?, stream)?;
            let messages: Vec<_> = parts.into_iter().map(Parts::message).collect();
            let running = meter.start();
            bare::publish(stream.context(), messages.into_iter()).await?;
            running.stop()
        }
    };
    stream.verify(rows).await?;
    Ok(cost)
}
