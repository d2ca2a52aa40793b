//! `cargo run --release --bin event_store [-- --rounds 40]`
//!
//! Event-sourced accounts on PostgreSQL: loaded from 10, 100 and 1,000 events, loaded from a
//! snapshot and the events behind it, and appended to by 1 and by 10 events. Through Bento, by hand
//! with sqlx on Bento's own tables, and through `cqrs-es` with `postgres-es` on theirs.

mod account;
mod bento;
mod by_hand;
mod peer;
mod wire;

use std::fmt;
use std::str::FromStr as _;

use bento_benchmarks::cost::{Cost, Meter};
use bento_benchmarks::database::{self, PostgresDatabase};
use bento_benchmarks::rounds::{Measure, Rounds, cell};
use bento_benchmarks::{Result, arguments, environment};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor as _, PgPool};

use Contender::{Bento, ByHand, Peer};

use crate::account::Totals;
use crate::wire::{Sent, Wire};

/// The events of the account with a snapshot: the last one is at 1,000.
const KEPT: usize = 1_050;

/// The number of other accounts beside those that are loaded, of 100 events each.
const OTHERS: usize = 1_000;

const LOADS: [Work; 4] = [
    Work::Load(10),
    Work::Load(100),
    Work::Load(1_000),
    Work::LoadKept,
];

const APPENDS: [Work; 2] = [Work::Append(1), Work::Append(10)];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Contender {
    Bento,
    ByHand,
    Peer,
}

#[derive(Clone, Copy, Debug)]
enum Work {
    /// Loads an account of this number of events, without a snapshot.
    Load(usize),
    /// Loads an account of [`KEPT`] events from its snapshot on.
    LoadKept,
    /// Appends this number of events in a transaction.
    Append(usize),
}

struct Contenders {
    /// The name of the accounts that are appended to.
    name: String,
    meter: Meter,
    bento: bento::Bento,
    by_hand: by_hand::ByHand,
    peer: peer::Peer,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    arguments::expect_only(&["rounds"])?;
    let rounds = arguments::option("rounds", 40)?;
    let database = PostgresDatabase::create().await?;
    let result = compare(&database, rounds).await;
    database.drop().await?;
    result
}

async fn compare(database: &PostgresDatabase, rounds: usize) -> Result {
    let pool = database.pool(1, "off").await?;
    let of_peer = peer::pool(&database.url(), "off").await?;
    bento_seaorm::migrate(&pool.clone().into()).await?;
    peer::create(&of_peer).await?;
    fill(&pool, &of_peer).await?;
    println!("{}\n", environment::line(&database::version(&pool).await?));
    let mut counted = count(database).await?.into_iter();
    let heading = "Bento ÷ by hand: time | processor | cqrs-es ÷ Bento: time | processor \
                   | µs of Bento, by hand, cqrs-es | statements (round trips)";
    for synchronous_commit in ["off", "on"] {
        let pool = database.pool(1, synchronous_commit).await?;
        let of_peer = peer::pool(&database.url(), synchronous_commit).await?;
        let mut contenders = Contenders::new(&pool, &of_peer, synchronous_commit).await?;
        println!("synchronous_commit = {synchronous_commit}, {rounds} rounds\n");
        println!("| | {heading} |");
        println!("|---|---:|---:|---:|---:|---|---|");
        // Only what writes waits for the disk.
        let loads = LOADS.iter().filter(|_| synchronous_commit == "off");
        for &work in loads.chain(&APPENDS) {
            let measured = contenders.measure(work, rounds).await?;
            print_row(
                work,
                &measured,
                counted.next().as_deref().unwrap_or("as above"),
            );
        }
        println!();
        contenders.verify(&pool).await?;
        // The next meter is not to know these sessions.
        pool.close().await;
        of_peer.close().await;
    }
    Ok(())
}

fn print_row(work: Work, measured: &Rounds<Contender>, sent: &str) {
    use Measure::{Elapsed, Processor};
    let of_hand = |measure| cell(measured.ratio(measure, Bento, ByHand));
    let of_bento = |measure| cell(measured.ratio(measure, Peer, Bento));
    let micros = |contender| {
        let median = measured.median(Elapsed, contender);
        cell(median.map(|time| time.as_micros()))
    };
    println!(
        "| {work} | {} | {} | {} | {} | {}, {}, {} | {sent} |",
        of_hand(Elapsed),
        of_hand(Processor),
        of_bento(Elapsed),
        of_bento(Processor),
        micros(Bento),
        micros(ByHand),
        micros(Peer),
    );
}

/// Stores the accounts that are loaded.
async fn fill(pool: &PgPool, of_peer: &sqlx_of_peer::PgPool) -> Result {
    for events in [10, 100, 1_000] {
        let id = id(events);
        let mut bento = bento::Bento::new(pool, &id);
        let mut peer = peer::Peer::new(of_peer, &id);
        for _ in 0..events / 10 {
            bento.append(10).await?;
            peer.append(10).await?;
        }
    }
    let id = id(KEPT);
    bento::Bento::new(pool, &id).fill_kept(&id, KEPT).await?;
    peer::Peer::new(of_peer, &id).fill_kept(&id, KEPT).await?;
    // An account is a small part of its table.
    pool.execute(sqlx::AssertSqlSafe(format!(
        "INSERT INTO bento_event (aggregate_type, aggregate_id, sequence, event_id, event_type,
             schema_version, occurred_at, payload)
         SELECT aggregate_type, 'DE-other-' || other, sequence, gen_random_uuid(), event_type,
             schema_version, occurred_at, payload
         FROM generate_series(1, {OTHERS}) AS other, bento_event
         WHERE aggregate_id = 'DE-100' ORDER BY other, sequence;
         INSERT INTO events
         SELECT aggregate_type, 'DE-other-' || other, sequence, event_type, event_version, payload,
             metadata
         FROM generate_series(1, {OTHERS}) AS other, events
         WHERE aggregate_id = 'DE-100' ORDER BY other, sequence"
    )))
    .await?;
    pool.execute("VACUUM (ANALYZE)").await?;
    Ok(())
}

/// The id of the account of this number of events.
fn id(events: usize) -> String {
    format!("DE-{events}")
}

/// Counts what each contender sends for each work, once it has prepared its statements.
async fn count(database: &PostgresDatabase) -> Result<Vec<String>> {
    let options = PgConnectOptions::from_str(&database.url())?;
    let wire = Wire::to(options.get_host(), options.get_port()).await?;
    let options = options.host("127.0.0.1").port(wire.port());
    let url = sqlx::ConnectOptions::to_url_lossy(&options).to_string();
    let pool = PgPoolOptions::new().max_connections(1);
    let pool = pool.connect_with(options).await?;
    let of_peer = peer::pool(&url, "off").await?;
    let mut contenders = Contenders::new(&pool, &of_peer, "counted").await?;
    let mut counted = Vec::new();
    for work in LOADS.into_iter().chain(APPENDS) {
        let mut sent = Vec::new();
        for contender in [Bento, ByHand, Peer] {
            // The first event of an account is another statement, and a statement is prepared once.
            for _ in 0..2 {
                contenders.turn(contender, work).await?;
            }
            wire.take();
            contenders.turn(contender, work).await?;
            let Sent {
                statements,
                round_trips,
            } = wire.take();
            sent.push(format!("{statements} ({round_trips})"));
        }
        counted.push(sent.join(", "));
    }
    pool.close().await;
    of_peer.close().await;
    Ok(counted)
}

impl Contenders {
    async fn new(pool: &PgPool, of_peer: &sqlx_of_peer::PgPool, name: &str) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            meter: Meter::of(pool).await?,
            bento: bento::Bento::new(pool, &format!("bento-{name}")),
            by_hand: by_hand::ByHand::new(pool, &format!("by-hand-{name}")).await?,
            peer: peer::Peer::new(of_peer, &format!("cqrs-es-{name}")),
        })
    }

    async fn measure(&mut self, work: Work, rounds: usize) -> Result<Rounds<Contender>> {
        let mut measured = Rounds::new(&[Bento, ByHand, Peer]);
        for contender in measured.turns(0) {
            self.burst(contender, work).await?;
        }
        for round in 0..rounds {
            for contender in measured.turns(round) {
                measured.record(contender, self.burst(contender, work).await?);
            }
        }
        Ok(measured)
    }

    /// The cost of one turn, over as many as give the clock something to measure.
    async fn burst(&mut self, contender: Contender, work: Work) -> Result<Cost> {
        let turns = work.turns();
        let meter = self.meter.clone();
        let mut loaded = None;
        let running = meter.start();
        for _ in 0..turns {
            loaded = self.turn(contender, work).await?;
        }
        let cost = running.stop() / turns;
        if loaded != work.result() {
            return Err(format!("{contender:?} has loaded another state: {loaded:?}").into());
        }
        Ok(cost)
    }

    /// Does the work once; the answer is the state if it was loaded.
    async fn turn(&mut self, contender: Contender, work: Work) -> Result<Option<Totals>> {
        let loaded = match (work, contender) {
            (Work::Load(events), Bento) => self.bento.load(&id(events)).await?,
            (Work::Load(events), ByHand) => self.by_hand.load(&id(events)).await?,
            (Work::Load(events), Peer) => self.peer.load(&id(events)).await?,
            (Work::LoadKept, Bento) => self.bento.load_kept(&id(KEPT)).await?,
            (Work::LoadKept, ByHand) => self.by_hand.load_kept(&id(KEPT)).await?,
            (Work::LoadKept, Peer) => self.peer.load_kept(&id(KEPT)).await?,
            (Work::Append(events), contender) => {
                match contender {
                    Bento => self.bento.append(events).await?,
                    ByHand => self.by_hand.append(events).await?,
                    Peer => self.peer.append(events).await?,
                }
                return Ok(None);
            }
        };
        Ok(Some(loaded))
    }

    /// Looks at what was appended: all of it is stored, and in the outbox of those that have one.
    async fn verify(&self, pool: &PgPool) -> Result {
        let account = |contender: &str| format!("{contender}-{}", self.name);
        let (bento, by_hand, peer) = (account("bento"), account("by-hand"), account("cqrs-es"));
        let (stored, outbox) = (
            [
                (self.bento.load(&bento).await?, self.bento.stored()),
                (self.by_hand.load(&by_hand).await?, self.by_hand.stored()),
                (self.peer.load(&peer).await?, self.peer.stored()),
            ],
            [
                (bento, self.bento.stored()),
                (by_hand, self.by_hand.stored()),
            ],
        );
        for (totals, events) in stored {
            if totals != Totals::after(events) {
                return Err(format!("not all of {events} events are stored: {totals:?}").into());
            }
        }
        for (id, events) in outbox {
            let sql = "SELECT count(*) FROM bento_outbox WHERE aggregate_id = $1";
            let found: i64 = sqlx::query_scalar(sql).bind(&id).fetch_one(pool).await?;
            if found.unsigned_abs() as usize != events {
                return Err(format!("{found} of {events} events of {id} are in the outbox").into());
            }
        }
        Ok(())
    }
}

impl Work {
    /// The number of times it is done in a turn.
    fn turns(self) -> u32 {
        match self {
            Self::Load(1_000..) => 4,
            Self::Load(_) | Self::LoadKept | Self::Append(_) => 20,
        }
    }

    /// The state that it loads.
    fn result(self) -> Option<Totals> {
        match self {
            Self::Load(events) => Some(Totals::after(events)),
            Self::LoadKept => Some(Totals::after(KEPT)),
            Self::Append(_) => None,
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(events) => write!(f, "load {events} events"),
            Self::LoadKept => write!(f, "load a snapshot and {} events", KEPT % account::EVERY),
            Self::Append(1) => write!(f, "append 1 event"),
            Self::Append(events) => write!(f, "append {events} events"),
        }
    }
}
