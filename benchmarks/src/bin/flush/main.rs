//! `cargo run --release --bin flush [-- --rounds 60] [--events 100]`
//!
//! One business row and N events in one transaction on PostgreSQL: through Bento, and as one would
//! write it by hand with SeaORM's `insert_many` and with sqlx and UNNEST. All three use the same
//! connection, the same table and the same payloads.

mod bento;
mod insert_many;
mod outbox;
mod unnest;

use bento_benchmarks::cost::{Cost, Meter};
use bento_benchmarks::database::{self, PostgresDatabase};
use bento_benchmarks::rounds::{Measure, Rounds, cell};
use bento_benchmarks::{Result, arguments, environment};
use sqlx::PgPool;

use Contender::{Bento, InsertMany, Unnest};

/// Events in one transaction; without any it shows what the business row alone costs.
const SIZES: [usize; 5] = [0, 1, 10, 100, 1000];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Contender {
    Bento,
    InsertMany,
    Unnest,
}

struct Contenders {
    meter: Meter,
    bento: bento::Bento,
    insert_many: insert_many::InsertMany,
    unnest: unnest::Unnest,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    arguments::expect_only(&["rounds", "events"])?;
    let rounds = arguments::option("rounds", 60)?;
    let sizes = match arguments::option("events", usize::MAX)? {
        usize::MAX => SIZES.to_vec(),
        events => vec![events],
    };
    let database = PostgresDatabase::create().await?;
    let result = compare(&database, &sizes, rounds).await;
    database.drop().await?;
    result
}

async fn compare(database: &PostgresDatabase, sizes: &[usize], rounds: usize) -> Result {
    let pool = database.pool(1, "on").await?;
    outbox::create(&pool).await?;
    println!("{}\n", environment::line(&database::version(&pool).await?));
    for synchronous_commit in ["off", "on"] {
        let pool = database.pool(1, synchronous_commit).await?;
        let contenders = Contenders::new(&pool).await?;
        println!("synchronous_commit = {synchronous_commit}, {rounds} rounds\n");
        println!(
            "| events | Bento ÷ UNNEST: time | processor | insert_many ÷ Bento: time | processor \
             | µs of Bento, insert_many, UNNEST |"
        );
        println!("|---:|---:|---:|---:|---:|---|");
        for &events in sizes {
            let measured = contenders.measure(events, rounds).await?;
            print_row(events, &measured);
        }
        println!();
        outbox::verify_and_empty(&pool, sizes, rounds).await?;
    }
    Ok(())
}

fn print_row(events: usize, measured: &Rounds<Contender>) {
    use Measure::{Elapsed, Processor};
    let of_floor = |measure| cell(measured.ratio(measure, Bento, Unnest));
    let of_bento = |measure| cell(measured.ratio(measure, InsertMany, Bento));
    let micros = |contender| {
        cell(
            measured
                .median(Elapsed, contender)
                .map(|time| time.as_micros()),
        )
    };
    println!(
        "| {events} | {} | {} | {} | {} | {}, {}, {} |",
        of_floor(Elapsed),
        of_floor(Processor),
        of_bento(Elapsed),
        of_bento(Processor),
        micros(Bento),
        micros(InsertMany),
        micros(Unnest),
    );
}

impl Contenders {
    async fn new(pool: &PgPool) -> Result<Self> {
        Ok(Self {
            meter: Meter::of(pool).await?,
            bento: bento::Bento::new(pool),
            insert_many: insert_many::InsertMany::new(pool),
            unnest: unnest::Unnest::new(pool),
        })
    }

    async fn measure(&self, events: usize, rounds: usize) -> Result<Rounds<Contender>> {
        let mut measured = Rounds::new(&[Bento, InsertMany, Unnest]);
        for contender in measured.turns(0) {
            self.burst(contender, events).await?;
        }
        for round in 0..rounds {
            for contender in measured.turns(round) {
                measured.record(contender, self.burst(contender, events).await?);
            }
        }
        Ok(measured)
    }

    /// The cost of one transaction, over as many as give the clock something to measure.
    async fn burst(&self, contender: Contender, events: usize) -> Result<Cost> {
        let transactions = outbox::burst(events);
        let running = self.meter.start();
        for _ in 0..transactions {
            match contender {
                Bento => self.bento.place_order(events).await?,
                InsertMany => self.insert_many.place_order(events).await?,
                Unnest => self.unnest.place_order(events).await?,
            }
        }
        Ok(running.stop() / transactions)
    }
}
