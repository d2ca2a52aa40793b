//! Writers of event-sourced ledgers in a process of their own, until it is killed.
//!
//! `ledger_writer URL SEED`. Each line on its standard output is an append that is committed: the
//! ledger, and the number of its first event.

use std::error::Error;
use std::time::Duration;

use bento_core::EventSourced as _;
use bento_relay::retry::RetryPolicy;
use bento_seaorm::{OutboxConnection, OutboxTransaction};
use bento_tests::broker_log::connect;
use bento_tests::ledgers::{LEDGERS, Ledger, WRITERS};

const BASE: Duration = Duration::from_millis(2);
const CAP: Duration = Duration::from_millis(50);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(seed)) = (arguments.next(), arguments.next()) else {
        return Err("usage: ledger_writer URL SEED".into());
    };
    let db = OutboxConnection::new(connect(url).await?);
    let seed: u64 = seed.parse()?;
    let writers = (0..u64::from(WRITERS)).map(|writer| {
        let (db, random) = (db.clone(), fastrand::Rng::with_seed(seed * 1_000 + writer));
        tokio::spawn(write(db, random))
    });
    futures_util::future::join_all(writers).await;
    Ok(())
}

/// Appends again and again. An append that fails was not committed, or its answer was lost.
async fn write(db: OutboxConnection, mut random: fastrand::Rng) {
    loop {
        let (id, events) = (random.u32(1..=LEDGERS), random.usize(1..=3));
        let rolls_back = random.u8(..) < 25;
        let policy = RetryPolicy::exponential(BASE, CAP, 50);
        let written = db
            .transaction_retrying(policy, async move |tx: &OutboxTransaction| {
                let ledger = tx.load::<Ledger>(id).await?;
                let mut ledger = ledger.unwrap_or_else(|| Ledger::with_id(id));
                ledger.credit(1);
                tx.save(&mut ledger).await?;
                let number = ledger.version;
                let nested = tx.begin().await?;
                for cents in 1..events as i64 {
                    ledger.credit(cents);
                }
                nested.save(&mut ledger).await?;
                if rolls_back {
                    nested.rollback().await?;
                    ledger.discard();
                } else {
                    nested.commit().await?;
                }
                Ok::<_, bento_seaorm::Error>(number)
            })
            .await;
        match written {
            Ok(number) => announce(id, number),
            Err(error) => tracing::debug!(%error, "an append failed"),
        }
    }
}

#[allow(clippy::print_stdout, reason = "the test reads the lines")]
fn announce(id: u32, number: i64) {
    println!("{id} {number}");
}
