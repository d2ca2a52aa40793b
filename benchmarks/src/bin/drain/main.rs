//! `cargo run --release --bin drain [-- --database postgres --rounds 3 --rows 200000 --batch 200]`
//!
//! The time a backlog takes to leave the outbox for a publisher that does nothing: by Bento's relay
//! and by a plain loop that reads in order and deletes, on PostgreSQL, SQLite or MySQL; on
//! PostgreSQL also by the usual outbox that claims and marks by UPDATE.

mod bento;
mod event;
mod mysql;
mod outbox;
mod postgres;
mod sqlite;

use std::sync::Arc;

use bento_benchmarks::cost::Cost;
use bento_benchmarks::database::{MySqlDatabase, PostgresDatabase, SqliteFile};
use bento_benchmarks::rounds::{Measure, Rounds, cell};
use bento_benchmarks::{Result, arguments, environment};

use crate::bento::Opened;
use crate::outbox::Contender::{Bento, ClaimAndMark, OneWorker, PlainLoop};
use crate::outbox::{Backlog, Contender, Outbox, Published};

/// Everything runs on a worker of the runtime: between the main thread and the workers each answer
/// of the database would cost the contenders that stay on the main thread a change of threads.
#[tokio::main]
async fn main() -> Result {
    tokio::spawn(run()).await?
}

async fn run() -> Result {
    arguments::expect_only(&["database", "rounds", "rows", "batch"])?;
    let rounds = arguments::option("rounds", 3)?;
    let backlog = Backlog {
        rows: arguments::option("rows", 200_000)?,
        batch: arguments::option("batch", 200)?,
    };
    match arguments::option("database", "postgres".to_owned())?.as_str() {
        "postgres" => {
            let database = PostgresDatabase::create().await?;
            let result = compare(
                postgres::Postgres::create(&database, backlog).await,
                backlog,
                rounds,
            )
            .await;
            database.drop().await?;
            result
        }
        "mysql" => {
            let database = MySqlDatabase::create().await?;
            let result = compare(
                mysql::MySql::create(&database, backlog).await,
                backlog,
                rounds,
            )
            .await;
            database.drop().await?;
            result
        }
        "sqlite" => {
            let file = SqliteFile::new();
            let result = compare(
                sqlite::Sqlite::create(&file, backlog).await,
                backlog,
                rounds,
            )
            .await;
            file.remove()?;
            result
        }
        other => Err(format!("--database is postgres, mysql or sqlite, not `{other}`").into()),
    }
}

async fn compare<O: Outbox>(outbox: Result<O>, backlog: Backlog, rounds: usize) -> Result {
    let outbox = outbox?;
    println!("{}\n", environment::line(&outbox.version().await?));
    let mut measured = Rounds::new(O::CONTENDERS);
    for round in 0..rounds {
        for contender in measured.turns(round) {
            measured.record(contender, drain(&outbox, contender, backlog).await?);
        }
    }
    print(O::CONTENDERS, backlog, rounds, &measured);
    Ok(())
}

/// Fills the contender's table, and takes the cost until the last event is published and gone.
async fn drain<O: Outbox>(outbox: &O, contender: Contender, backlog: Backlog) -> Result<Cost> {
    outbox.fill(contender).await?;
    let published = Arc::new(Published::default());
    let cost = match contender {
        OneWorker | Bento => {
            let store = Opened::open(outbox.relay()).await?;
            let workers = (contender == OneWorker).then_some(1);
            let meter = outbox.meter().await?;
            let running = meter.start();
            bento::drain(store, backlog.batch, workers, &published).await?;
            running.stop()
        }
        PlainLoop | ClaimAndMark => {
            let meter = outbox.meter().await?;
            let running = meter.start();
            outbox.drain_by_hand(contender, &published).await?;
            running.stop()
        }
    };
    published.verify(backlog.rows, outbox.left(contender).await?)?;
    Ok(cost)
}

fn print(
    contenders: &[Contender],
    Backlog { rows, batch }: Backlog,
    rounds: usize,
    measured: &Rounds<Contender>,
) {
    println!("{rows} rows, batches of {batch}, {rounds} rounds, each commit waits for the disk\n");
    let claims = contenders.contains(&ClaimAndMark);
    let of_claims = if claims {
        " times claim-and-mark's | by processor time |"
    } else {
        ""
    };
    println!(
        "| drain | of the plain loop's speed | by processor time | of it here |{of_claims} here: \
         events/s | µs of processor per event | of it here |"
    );
    println!(
        "|---|---:|---:|---:|{}---:|---:|---:|",
        if claims { "---:|---:|" } else { "" }
    );
    for &contender in contenders {
        let speed = |measure, of| cell(measured.ratio(measure, of, contender));
        let rate = measured
            .median(Measure::Elapsed, contender)
            .map(|time| rows as f64 / time.as_secs_f64());
        let micros = |measure| {
            let time = measured.median(measure, contender);
            cell(time.map(|time| format!("{:.1}", time.as_secs_f64() * 1e6 / rows as f64)))
        };
        let of_claims = [Measure::Elapsed, Measure::Processor].map(|measure| {
            if claims {
                format!(" {} |", speed(measure, ClaimAndMark))
            } else {
                String::new()
            }
        });
        println!(
            "| {} | {} | {} | {} |{} {} | {} | {} |",
            contender.name(),
            speed(Measure::Elapsed, PlainLoop),
            speed(Measure::Processor, PlainLoop),
            speed(Measure::Client, PlainLoop),
            of_claims.concat(),
            cell(rate.map(f64::round)),
            micros(Measure::Processor),
            micros(Measure::Client),
        );
    }
}
