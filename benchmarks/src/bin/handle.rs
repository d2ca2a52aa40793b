//! `cargo run --release --bin handle [-- --rounds 5 --rows 5000]`
//!
//! A backlog of events that each raise a counter, once: handlers one by one and in batches, beside
//! a loop by hand with a transaction for each event (record, effect, delete). Eight at a time.

use std::sync::Arc;

use bento_benchmarks::cost::{Cost, Meter};
use bento_benchmarks::database::{self, PostgresDatabase};
use bento_benchmarks::rounds::{Measure, Rounds, cell};
use bento_benchmarks::{Result, arguments, environment};
use bento_core::domain_event;
use bento_handlers::{Batch, HandleError, Handlers, event_handler};
use bento_relay::Relay;
use bento_relay::publish::Publishers;
use bento_seaorm::{OutboxConnection, OutboxStore, OutboxTransaction};
use futures_util::StreamExt;
use futures_util::stream;
use sea_orm::{ConnectionTrait, Statement};
use sqlx::{AssertSqlSafe, PgPool, Row};
use uuid::Uuid;

/// The calls at once.
const AT_ONCE: usize = 8;

/// The rows that are read at once by hand.
const PAGE: &str =
    "SELECT position, event_id, payload FROM bento_outbox ORDER BY position LIMIT 200";

/// The number of counters, each an aggregate.
const COUNTERS: i64 = 500;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Contender {
    ByHand,
    OneByOne,
    Batches,
}

const CONTENDERS: [Contender; 3] = [Contender::ByHand, Contender::OneByOne, Contender::Batches];

#[domain_event(schema = "counter.raised", version = 1)]
#[derive(Debug)]
pub struct CounterRaised {
    pub counter: i64,
}

#[event_handler(name = "counters.one", concurrency = 8, from = beginning)]
async fn one(event: CounterRaised, tx: &OutboxTransaction) -> std::result::Result<(), HandleError> {
    let update = "UPDATE counters SET n = n + 1 WHERE id = $1";
    let values = [event.counter.into()];
    let update = Statement::from_sql_and_values(tx.get_database_backend(), update, values);
    tx.execute_raw(update).await?;
    Ok(())
}

#[event_handler(name = "counters.batch", from = beginning)]
async fn batch(
    events: Batch<CounterRaised>,
    tx: &OutboxTransaction,
) -> std::result::Result<(), HandleError> {
    let counters: Vec<i64> = events.iter().map(|event| event.counter).collect();
    let update = "UPDATE counters SET n = counters.n + more.n FROM (SELECT id, count(*) AS n FROM \
                  unnest($1::bigint[]) AS id GROUP BY id) more WHERE counters.id = more.id";
    let values = [counters.into()];
    let update = Statement::from_sql_and_values(tx.get_database_backend(), update, values);
    tx.execute_raw(update).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result {
    tokio::spawn(run()).await?
}

async fn run() -> Result {
    arguments::expect_only(&["rounds", "rows"])?;
    let (rounds, rows) = (
        arguments::option("rounds", 5)?,
        arguments::option("rows", 5_000)?,
    );
    let database = PostgresDatabase::create().await?;
    let result = compare(&database, rows, rounds).await;
    database.drop().await?;
    result
}

async fn compare(database: &PostgresDatabase, rows: i64, rounds: usize) -> Result {
    let store = database.pool(6, "on").await?;
    let work = database.pool(10, "on").await?;
    bento_seaorm::migrate(&store.clone().into()).await?;
    execute(
        &store,
        "CREATE TABLE counters (id bigint PRIMARY KEY, n bigint NOT NULL)",
    )
    .await?;
    println!("{}\n", environment::line(&database::version(&store).await?));
    let mut measured = Rounds::new(&CONTENDERS);
    for round in 0..rounds {
        for contender in measured.turns(round) {
            let cost = handle(contender, rows, &store, &work).await?;
            measured.record(contender, cost);
        }
    }
    println!("{rows} events, {rounds} rounds, {AT_ONCE} at once, synchronous_commit = on\n");
    println!("| | of the time by hand | of its processor time | here: events/s |");
    println!("|---|---:|---:|---:|");
    for contender in CONTENDERS {
        let rate = measured
            .median(Measure::Elapsed, contender)
            .map(|time| rows as f64 / time.as_secs_f64());
        println!(
            "| {contender:?} | {} | {} | {} |",
            cell(measured.ratio(Measure::Elapsed, contender, Contender::ByHand)),
            cell(measured.ratio(Measure::Client, contender, Contender::ByHand)),
            cell(rate.map(f64::round)),
        );
    }
    Ok(())
}

async fn execute(pool: &PgPool, sql: &str) -> Result {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(pool)
        .await?;
    Ok(())
}

/// Fills the outbox, and takes the cost until the last event is handled and gone.
async fn handle(contender: Contender, rows: i64, store: &PgPool, work: &PgPool) -> Result<Cost> {
    let fill = format!(
        "INSERT INTO bento_outbox (shard, event_id, event_type, schema_version, aggregate_type,
             aggregate_id, occurred_at, payload)
         SELECT counter % 16, gen_random_uuid(), 'counter.raised', 1, 'counter', counter::text,
             now(), convert_to('{{\"counter\":' || counter || '}}', 'UTF8')
         FROM (SELECT i % {COUNTERS} AS counter FROM generate_series(0, {rows} - 1) i ORDER BY i)
             rows"
    );
    let counters =
        format!("INSERT INTO counters SELECT i, 0 FROM generate_series(0, {COUNTERS} - 1) i");
    for sql in [
        "TRUNCATE bento_outbox, bento_outbox_held, bento_handler, bento_handled_event, counters",
        &counters,
        "CHECKPOINT",
        &fill,
        "VACUUM (ANALYZE) bento_outbox",
    ] {
        execute(store, sql).await?;
    }
    let meter = Meter::of(store).await?;
    let cost = match contender {
        Contender::ByHand => {
            let running = meter.start();
            by_hand(work).await?;
            running.stop()
        }
        Contender::OneByOne | Contender::Batches => {
            let name = match contender {
                Contender::Batches => "counters.batch",
                _ => "counters.one",
            };
            let db = OutboxConnection::new(work.clone().into());
            let handlers = Handlers::registered().retain(|handler| handler.name == name);
            let publishers = Publishers::new().with_handlers(handlers.build(&db)?);
            let relay = Relay::builder(OutboxStore::new(store.clone().into()), publishers);
            let running = meter.start();
            relay.batch(100 * AT_ONCE).run_until_empty().await?;
            running.stop()
        }
    };
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM bento_outbox")
        .fetch_one(store)
        .await?;
    let sum: i64 = sqlx::query_scalar("SELECT sum(n)::bigint FROM counters")
        .fetch_one(store)
        .await?;
    if left != 0 || sum != rows {
        let why = "SELECT error_message FROM bento_outbox_held UNION ALL \
                   SELECT error_message FROM bento_dead_letter LIMIT 1";
        let error: Option<String> = sqlx::query_scalar(why)
            .fetch_optional(store)
            .await?
            .flatten();
        return Err(format!(
            "{contender:?}: {sum} of {rows} events were handled, {left} are left: {}",
            error.unwrap_or_default()
        )
        .into());
    }
    Ok(cost)
}

/// Reads the rows in pages, and handles each in a transaction of its own: record, effect, delete.
/// It keeps no order beyond its page, and must be alone.
async fn by_hand(pool: &PgPool) -> Result {
    let pool = Arc::new(pool.clone());
    loop {
        let page = sqlx::query(PAGE).fetch_all(&*pool).await?;
        if page.is_empty() {
            return Ok(());
        }
        let calls = stream::iter(page).map(|row| {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move {
                let (position, id): (i64, Uuid) = (row.try_get(0)?, row.try_get(1)?);
                let payload: Vec<u8> = row.try_get(2)?;
                let event: CounterRaised = serde_json::from_slice(&payload)?;
                let mut tx = pool.begin().await?;
                let record = "INSERT INTO bento_handled_event (handler, event_id, outcome, \
                              handled_at) VALUES ($1, $2, 'handled', now()) ON CONFLICT DO NOTHING";
                let recorded = sqlx::query(record)
                    .bind("by hand")
                    .bind(id)
                    .execute(&mut *tx)
                    .await?;
                if recorded.rows_affected() == 1 {
                    let update = "UPDATE counters SET n = n + 1 WHERE id = $1";
                    sqlx::query(update)
                        .bind(event.counter)
                        .execute(&mut *tx)
                        .await?;
                }
                let delete = "DELETE FROM bento_outbox WHERE position = $1";
                sqlx::query(delete).bind(position).execute(&mut *tx).await?;
                tx.commit().await?;
                Result::<()>::Ok(())
            })
        });
        let mut calls = calls.buffer_unordered(AT_ONCE);
        while let Some(call) = calls.next().await {
            call??;
        }
    }
}
