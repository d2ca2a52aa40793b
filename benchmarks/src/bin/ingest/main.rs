//! `cargo run --release --bin ingest [-- --rounds 5 --rows 50000 --batch 500]`
//!
//! The time until the messages of a stream of NATS JetStream are rows of a PostgreSQL database and
//! acknowledged: by Bento's consumer, whose handlers get nothing meanwhile, and by a bare loop that
//! pulls a batch, inserts it with one UNNEST, and acknowledges.

mod bare;
#[allow(dead_code, reason = "another benchmark uses the rest")]
#[path = "../nats/outbox.rs"]
mod outbox;
#[allow(dead_code, reason = "another benchmark uses the rest")]
#[path = "../nats/bare.rs"]
mod publish;
#[allow(dead_code, reason = "another benchmark uses the rest")]
#[path = "../nats/stream.rs"]
mod stream;

use bento_benchmarks::cost::{Cost, Meter};
use bento_benchmarks::database::{self, PostgresDatabase};
use bento_benchmarks::rounds::{Measure, Rounds, cell};
use bento_benchmarks::{Result, arguments, environment};
use bento_brokers::nats::{NatsSource, NatsSourceSettings};
use bento_core::Envelope;
use bento_handlers::{Consumer, ConsumerSettings, HandleError, Handlers, event_handler};
use bento_relay::store::RelayStore as _;
use bento_seaorm::{Inbox, OutboxConnection, OutboxTransaction};
use sqlx::{AssertSqlSafe, PgPool};

use crate::publish::Parts;
use crate::stream::Stream;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Contender {
    /// The consumer.
    Bento,
    /// The loop by hand.
    Bare,
}

use Contender::{Bare, Bento};

/// A handler of the events, which gets none of them here.
#[event_handler(name = "orders.never", events = "order.*", from = beginning)]
async fn never(event: Envelope, _: &OutboxTransaction) -> std::result::Result<(), HandleError> {
    Err(HandleError::permanent(format!(
        "event {} came to the handler",
        event.event_id
    )))
}

#[tokio::main]
async fn main() -> Result {
    tokio::spawn(run()).await?
}

async fn run() -> Result {
    arguments::expect_only(&["rounds", "rows", "batch"])?;
    let (rounds, rows, batch) = (
        arguments::option("rounds", 5)?,
        arguments::option("rows", 50_000)?,
        arguments::option("batch", ConsumerSettings::default().batch)?,
    );
    let stream = Stream::connect().await?;
    let database = PostgresDatabase::create().await?;
    let result = compare(&database, &stream, (rounds, rows, batch)).await;
    stream.drop().await?;
    database.drop().await?;
    result
}

async fn compare(
    database: &PostgresDatabase,
    stream: &Stream,
    (rounds, rows, batch): (usize, u32, usize),
) -> Result {
    let pool = database.pool(4, "on").await?;
    let work = database.pool(2, "on").await?;
    outbox::create(&pool, rows).await?;
    let versions = format!(
        "{}, NATS {}",
        database::version(&pool).await?,
        stream.version()
    );
    println!("{}\n", environment::line(&versions));
    stream.make_anew().await?;
    let parts = publish::parts(&outbox::envelopes(&pool).await?, stream)?;
    publish::publish(stream.context(), parts.into_iter().map(Parts::message)).await?;
    stream.verify(rows).await?;
    prepare(&pool).await?;
    let mut measured = Rounds::new(&[Bento, Bare]);
    for round in 0..rounds {
        for contender in measured.turns(round) {
            let cost = turn(contender, (&pool, &work), stream, (rows, batch)).await?;
            measured.record(contender, cost);
        }
    }
    println!(
        "{rows} events in batches of {batch}, {rounds} rounds, a stream in files, \
         synchronous_commit = on\n"
    );
    println!("| from NATS | of the bare loop's speed | of it by processor time | here: events/s |");
    println!("|---|---:|---:|---:|");
    for (contender, name) in [(Bento, "Bento"), (Bare, "bare loop")] {
        let rate = measured
            .median(Measure::Elapsed, contender)
            .map(|time| f64::from(rows) / time.as_secs_f64());
        println!(
            "| {name} | {} | {} | {} |",
            cell(measured.ratio(Measure::Elapsed, Bare, contender)),
            cell(measured.ratio(Measure::Processor, Bare, contender)),
            cell(rate.map(f64::round)),
        );
    }
    Ok(())
}

/// Lets another relay hold every shard of the inbox, so that no event is handled.
async fn prepare(pool: &PgPool) -> Result {
    Inbox::new(pool.clone().into()).store().open().await?;
    execute(
        pool,
        "UPDATE bento_inbox_relay_shard SET owner = gen_random_uuid(), \
         expires_at = now() + interval '1 day'",
    )
    .await
}

async fn execute(pool: &PgPool, sql: &str) -> Result {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(pool)
        .await?;
    Ok(())
}

/// Empties the inbox, and takes the cost until the last message is acknowledged.
async fn turn(
    contender: Contender,
    (pool, work): (&PgPool, &PgPool),
    stream: &Stream,
    (rows, batch): (u32, usize),
) -> Result<Cost> {
    for sql in ["TRUNCATE bento_inbox, bento_source", "CHECKPOINT"] {
        execute(pool, sql).await?;
    }
    let meter = Meter::of(pool).await?;
    let cost = match contender {
        Bento => {
            let settings = NatsSourceSettings {
                urls: vec![stream.url().into()],
                stream: stream.name().to_owned(),
                ..NatsSourceSettings::default()
            };
            let handlers = Handlers::registered();
            let handlers = handlers.build(&OutboxConnection::new(work.clone().into()))?;
            let consumer = Consumer::builder(Inbox::new(pool.clone().into()), handlers)
                .settings(ConsumerSettings {
                    batch,
                    ..ConsumerSettings::default()
                })
                .source("ingest", NatsSource::new(settings)?);
            let running = meter.start();
            let consumer = consumer.start().await?;
            stream.wait_for_acknowledged("ingest", rows).await?;
            let cost = running.stop();
            consumer.stop().await?;
            cost
        }
        Bare => {
            let running = meter.start();
            bare::ingest(pool, stream, rows, batch).await?;
            running.stop()
        }
    };
    stream.forget("ingest").await?;
    let stored: i64 = sqlx::query_scalar("SELECT count(DISTINCT event_id) FROM bento_inbox")
        .fetch_one(pool)
        .await?;
    match stored == i64::from(rows) {
        true => Ok(cost),
        false => Err(format!("{contender:?}: {stored} of {rows} events are stored").into()),
    }
}
