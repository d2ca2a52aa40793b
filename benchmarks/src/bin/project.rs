//! `cargo run --release --bin project [-- --rounds 5 --rows 50000 --seconds 10 --rate 2000]`
//!
//! Events into a read model, in batches, beside a loop by hand: those that a relay brings, and
//! those of the event store while a version is built. Then the time from an event to its read
//! model at a steady rate.

use std::time::{Duration, Instant};

use bento_benchmarks::cost::{Cost, Meter};
use bento_benchmarks::database::{self, PostgresDatabase};
use bento_benchmarks::rounds::{Measure, Rounds, cell, quantile};
use bento_benchmarks::{Result, arguments, environment};
use bento_core::domain_event;
use bento_handlers::{Batch, Dispatcher, HandleError, Handlers, ProjectionSettings, projection};
use bento_relay::{Relay, Wake};
use bento_seaorm::{OutboxConnection, OutboxStore, OutboxTransaction};
use sea_orm::{ConnectionTrait, Statement};
use sqlx::{AssertSqlSafe, PgPool, Row};
use tokio::time::{interval, sleep};

/// The number of counters, each an aggregate.
const COUNTERS: i64 = 5_000;

/// The events of one transaction, of the relay, of the build and of the loops.
const BATCH: i64 = 500;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Contender {
    FollowByHand,
    Follow,
    BuildByHand,
    Build,
}

const CONTENDERS: [Contender; 4] = [
    Contender::FollowByHand,
    Contender::Follow,
    Contender::BuildByHand,
    Contender::Build,
];

impl Contender {
    fn is_build(self) -> bool {
        matches!(self, Self::BuildByHand | Self::Build)
    }

    fn by_hand(self) -> Self {
        if self.is_build() {
            Self::BuildByHand
        } else {
            Self::FollowByHand
        }
    }
}

#[domain_event(schema = "counter.raised", version = 1)]
#[derive(Debug)]
pub struct CounterRaised {
    pub counter: i64,
}

#[projection(name = "counters", version = 1)]
pub struct Counters;

/// The effect of a batch: one statement.
const COUNT: &str = "INSERT INTO counters SELECT id, count(*), max(at), clock_timestamp() FROM \
                     unnest($1::bigint[], $2::timestamptz[]) AS u (id, at) GROUP BY id \
                     ON CONFLICT (id) DO UPDATE SET n = counters.n + excluded.n, raised_at = \
                     excluded.raised_at, seen_at = excluded.seen_at";

impl Counters {
    async fn project(
        &self,
        events: Batch<CounterRaised>,
        tx: &OutboxTransaction,
    ) -> std::result::Result<(), HandleError> {
        let (mut ids, mut times) = (Vec::new(), Vec::new());
        for (event, context) in events.with_context() {
            ids.push(event.counter);
            times.push(context.occurred_at());
        }
        let values = [ids.into(), times.into()];
        let count = Statement::from_sql_and_values(tx.get_database_backend(), COUNT, values);
        tx.execute_raw(count).await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result {
    tokio::spawn(run()).await?
}

async fn run() -> Result {
    arguments::expect_only(&["rounds", "rows", "seconds", "rate"])?;
    let database = PostgresDatabase::create().await?;
    let result = compare(&database).await;
    database.drop().await?;
    result
}

async fn compare(database: &PostgresDatabase) -> Result {
    let (rounds, rows) = (
        arguments::option("rounds", 5)?,
        arguments::option("rows", 50_000)?,
    );
    let store = database.pool(6, "on").await?;
    let work = database.pool(10, "on").await?;
    bento_seaorm::migrate(&store.clone().into()).await?;
    for create in [
        "CREATE TABLE counters (id bigint PRIMARY KEY, n bigint NOT NULL, raised_at timestamptz \
         NOT NULL, seen_at timestamptz NOT NULL)",
        "CREATE TABLE seen (aggregate_id text PRIMARY KEY, sequence bigint NOT NULL)",
        "CREATE TABLE place (position bigint NOT NULL)",
    ] {
        execute(&store, create).await?;
    }
    println!("{}\n", environment::line(&database::version(&store).await?));
    let mut measured = Rounds::new(&CONTENDERS);
    for round in 0..rounds {
        for contender in measured.turns(round) {
            let cost = project(contender, rows, &store, &work).await?;
            measured.record(contender, cost);
        }
    }
    println!("{rows} events, {rounds} rounds, batches of {BATCH}, synchronous_commit = on\n");
    println!("| | of the time by hand | of its processor time | here: events/s |");
    println!("|---|---:|---:|---:|");
    for contender in CONTENDERS {
        let by_hand = contender.by_hand();
        let rate = measured
            .median(Measure::Elapsed, contender)
            .map(|time| rows as f64 / time.as_secs_f64());
        println!(
            "| {contender:?} | {} | {} | {} |",
            cell(measured.ratio(Measure::Elapsed, contender, by_hand)),
            cell(measured.ratio(Measure::Client, contender, by_hand)),
            cell(rate.map(f64::round)),
        );
    }
    let (seconds, rate) = (
        arguments::option("seconds", 10)?,
        arguments::option("rate", 2_000)?,
    );
    lag(seconds, rate, &store, &work).await
}

async fn execute(pool: &PgPool, sql: &str) -> Result {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(pool)
        .await?;
    Ok(())
}

/// Empties every table.
async fn clear(store: &PgPool) -> Result {
    let clear = "TRUNCATE bento_outbox, bento_outbox_held, bento_handler, bento_projection, \
                 bento_projection_checkpoint, bento_event, bento_event_stream, counters, seen, \
                 place";
    execute(store, clear).await?;
    execute(store, "INSERT INTO place VALUES (0)").await
}

/// Events `first` to `last` of each counter, as rows for the outbox or the event store.
fn events(rows: i64) -> String {
    format!(
        "SELECT i % {COUNTERS} AS counter, i / {COUNTERS} + 1 AS sequence
         FROM generate_series(0, {rows} - 1) i ORDER BY i"
    )
}

const EVENT: &str = "gen_random_uuid(), 'counter.raised', 1, 'counter', counter::text, sequence,
    clock_timestamp(), convert_to('{\"counter\":' || counter || '}', 'UTF8')";

const COLUMNS: &str = "event_id, event_type, schema_version, aggregate_type, aggregate_id,
    sequence, occurred_at, payload";

fn fill_outbox(rows: i64) -> String {
    format!(
        "INSERT INTO bento_outbox (shard, {COLUMNS}) SELECT counter % 16, {EVENT} FROM ({}) rows",
        events(rows)
    )
}

/// Takes the cost until the last event is in the read model.
async fn project(contender: Contender, rows: i64, store: &PgPool, work: &PgPool) -> Result<Cost> {
    clear(store).await?;
    let dispatcher = dispatcher(work)?;
    if contender == Contender::Follow {
        until_live(&dispatcher, store, work).await?;
    }
    let fill = if contender.is_build() {
        vec![
            format!(
                "INSERT INTO bento_event ({COLUMNS}) SELECT {EVENT} FROM ({}) rows",
                events(rows)
            ),
            "INSERT INTO bento_event_stream SELECT aggregate_type, aggregate_id, max(sequence) \
             FROM bento_event GROUP BY 1, 2"
                .to_owned(),
        ]
    } else {
        vec![fill_outbox(rows)]
    };
    for sql in &fill {
        execute(store, sql).await?;
    }
    execute(store, "CHECKPOINT").await?;
    execute(store, "VACUUM (ANALYZE) bento_outbox, bento_event").await?;
    let meter = Meter::of(store).await?;
    let running = meter.start();
    match contender {
        Contender::FollowByHand => follow_by_hand(work).await?,
        Contender::BuildByHand => build_by_hand(work).await?,
        Contender::Follow => {
            let relay = Relay::builder(OutboxStore::new(store.clone().into()), dispatcher);
            relay.batch(BATCH as usize).run_until_empty().await?;
        }
        Contender::Build => until_live(&dispatcher, store, work).await?,
    }
    let cost = running.stop();
    let sum: Option<i64> = sqlx::query_scalar("SELECT sum(n)::bigint FROM counters")
        .fetch_one(store)
        .await?;
    if sum != Some(rows) {
        return Err(format!("{contender:?}: {sum:?} of {rows} events were projected").into());
    }
    Ok(cost)
}

fn dispatcher(work: &PgPool) -> Result<Dispatcher> {
    let db = OutboxConnection::new(work.clone().into());
    let settings = ProjectionSettings::default().page(BATCH as usize);
    let handlers = Handlers::registered().configure_projection("counters", settings);
    Ok(handlers.build(&db)?)
}

/// Starts a relay, and stops it when the projection is live.
async fn until_live(dispatcher: &Dispatcher, store: &PgPool, work: &PgPool) -> Result {
    let store = OutboxStore::new(store.clone().into());
    let relay = Relay::builder(store, dispatcher.clone()).start()?;
    let db = OutboxConnection::new(work.clone().into());
    while db.live_version("counters").await?.is_none() {
        sleep(Duration::from_millis(5)).await;
    }
    relay.stop().await?;
    Ok(())
}

/// Counts the events that were not seen, and writes up to where each aggregate was seen.
async fn count(
    tx: &mut sqlx::PgConnection,
    rows: &[(String, i64, Vec<u8>, chrono::DateTime<chrono::Utc>)],
) -> Result {
    let keys: Vec<&str> = rows.iter().map(|row| &*row.0).collect();
    let seen = "SELECT aggregate_id, sequence FROM seen WHERE aggregate_id = ANY($1)";
    let seen = sqlx::query_as::<_, (String, i64)>(seen)
        .bind(&keys)
        .fetch_all(&mut *tx)
        .await?;
    let mut seen: std::collections::HashMap<String, i64> = seen.into_iter().collect();
    let (mut ids, mut times) = (Vec::new(), Vec::new());
    for (key, sequence, payload, at) in rows {
        let last = seen.entry(key.clone()).or_default();
        if *last < *sequence {
            *last = *sequence;
            let event: CounterRaised = serde_json::from_slice(payload)?;
            ids.push(event.counter);
            times.push(*at);
        }
    }
    sqlx::query(COUNT)
        .bind(&ids)
        .bind(&times)
        .execute(&mut *tx)
        .await?;
    let (keys, sequences): (Vec<String>, Vec<i64>) = seen.into_iter().unzip();
    let write = "INSERT INTO seen SELECT * FROM unnest($1::text[], $2::bigint[]) \
                 ON CONFLICT (aggregate_id) DO UPDATE SET sequence = excluded.sequence";
    sqlx::query(write)
        .bind(&keys)
        .bind(&sequences)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// Reads pages of the outbox, and projects each in a transaction that deletes its rows. It keeps no
/// order between pages of several loops, has no leases, and must be alone.
async fn follow_by_hand(pool: &PgPool) -> Result {
    let page = format!(
        "SELECT position, aggregate_id, sequence, payload, occurred_at FROM bento_outbox \
         ORDER BY position LIMIT {BATCH}"
    );
    loop {
        let mut tx = pool.begin().await?;
        let page = sqlx::query(AssertSqlSafe(page.clone()))
            .fetch_all(&mut *tx)
            .await?;
        if page.is_empty() {
            return Ok(());
        }
        let (mut positions, mut rows) = (Vec::new(), Vec::new());
        for row in &page {
            positions.push(row.try_get::<i64, _>(0)?);
            rows.push((
                row.try_get(1)?,
                row.try_get(2)?,
                row.try_get(3)?,
                row.try_get(4)?,
            ));
        }
        count(&mut tx, &rows).await?;
        sqlx::query("DELETE FROM bento_outbox WHERE position = ANY($1)")
            .bind(&positions)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
    }
}

/// Reads pages of the event store, and projects each in a transaction with its place. It misses
/// events that are committed late, and must be alone.
async fn build_by_hand(pool: &PgPool) -> Result {
    let page = format!(
        "SELECT position, aggregate_id, sequence, payload, occurred_at FROM bento_event WHERE \
         event_type = 'counter.raised' AND position > $1 ORDER BY position LIMIT {BATCH}"
    );
    let mut place = 0i64;
    loop {
        let mut tx = pool.begin().await?;
        let page = sqlx::query(AssertSqlSafe(page.clone()))
            .bind(place)
            .fetch_all(&mut *tx)
            .await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        place = last.try_get(0)?;
        let mut rows = Vec::new();
        for row in &page {
            rows.push((
                row.try_get(1)?,
                row.try_get(2)?,
                row.try_get(3)?,
                row.try_get(4)?,
            ));
        }
        count(&mut tx, &rows).await?;
        sqlx::query("UPDATE place SET position = $1")
            .bind(place)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
    }
}

/// The time from an event to its read model, at a steady rate.
async fn lag(seconds: u64, rate: i64, store: &PgPool, work: &PgPool) -> Result {
    clear(store).await?;
    let dispatcher = dispatcher(work)?;
    let (wake, shards) = (Wake::new(), (0..16).collect::<Vec<_>>());
    let relay = Relay::builder(OutboxStore::new(store.clone().into()), dispatcher)
        .wake(&wake)
        .start()?;
    let db = OutboxConnection::new(work.clone().into());
    while db.live_version("counters").await?.is_none() {
        sleep(Duration::from_millis(5)).await;
    }
    let at_once = rate / 50;
    // A counter for each event: its read model is written once.
    let insert = format!(
        "INSERT INTO bento_outbox (shard, {COLUMNS}) SELECT counter % 16, {EVENT} FROM (SELECT \
         $1 * {at_once} + i AS counter, 1 AS sequence FROM generate_series(0, {at_once} - 1) i) \
         rows"
    );
    let (mut ticks, began, mut written) =
        (interval(Duration::from_millis(20)), Instant::now(), 0i64);
    while began.elapsed() < Duration::from_secs(seconds) {
        ticks.tick().await;
        sqlx::query(AssertSqlSafe(insert.clone()))
            .bind(written)
            .execute(store)
            .await?;
        wake.wake(&shards);
        written += 1;
    }
    let total = written * at_once;
    let counted = "SELECT count(*) FROM counters";
    while sqlx::query_scalar::<_, i64>(counted)
        .fetch_one(store)
        .await?
        < total
    {
        sleep(Duration::from_millis(10)).await;
    }
    relay.stop().await?;
    let lags = "SELECT extract(epoch FROM seen_at - raised_at)::float8 * 1000 FROM counters \
                ORDER BY 1";
    let lags: Vec<f64> = sqlx::query_scalar(lags).fetch_all(store).await?;
    println!(
        "\n{rate} events/s for {seconds} s, {} of them: {:.0} ms from the event to its read model \
         in half of the cases, {:.0} ms at p99, {:.0} ms at most",
        lags.len(),
        quantile(&lags, 0.5),
        quantile(&lags, 0.99),
        lags.last().copied().unwrap_or_default(),
    );
    Ok(())
}
