//! The promise of order and of loss, under killed and paused relays.
//!
//! Eight writers lock account rows, count up, raise, pause, nest, roll back. Three relays run in
//! processes of their own; one is killed while it publishes, one is paused past its lease and
//! resumed. Then the broker's log is compared with the ground truth.
//!
//! The same run feeds three readers that are known to be wrong, and one mistake of a writer. The
//! run is valid only if each of them fails in it: a history too tame to break them proves nothing
//! about the right one.
//!
//! `BENTO_HISTORY_EVENTS` sets how many events are written; 50,000 unless set. The counts are
//! printed, and written to `history-<back end>.txt` in cargo's directory for tests, because libtest
//! shows nothing of a test that passes.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test that prints its counts"
)]

#[path = "../../bento-seaorm/tests/support/mod.rs"]
mod support;

#[path = "history/relays.rs"]
mod relays;
#[path = "history/schema.rs"]
mod schema;
#[path = "history/verdict.rs"]
mod verdict;
#[path = "history/writers.rs"]
mod writers;
#[path = "history/wrong_readers.rs"]
mod wrong_readers;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::DbBackend;

use crate::relays::Relays;
use crate::support::{TestDatabase, in_database};
use crate::writers::Writing;
use crate::wrong_readers::WrongReaders;

/// Longer than any run takes; a history that does not end has failed.
const LIMIT: Duration = Duration::from_secs(900);

async fn nothing_is_lost_and_order_holds(database: &TestDatabase) {
    tokio::time::timeout(LIMIT, run(database))
        .await
        .expect("the history ends in time");
}

async fn run(database: &TestDatabase) {
    let events = std::env::var("BENTO_HISTORY_EVENTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(50_000);
    schema::create(&database.db).await;

    let writing = Arc::new(Writing::new(database.connect(10).await, events));
    let wrong = WrongReaders::start(database.connect(5).await, Arc::clone(&writing));
    let mut relays = Relays::start(database.url(), &database.db);
    let writers = writing.start();

    writing.reached(events * 3 / 10).await;
    let killed = relays.kill_while_publishing().await;
    writing.reached(events / 2).await;
    let paused = relays.pause_past_its_lease().await;
    writers.join_all().await;
    relays.drained().await;
    relays.stop().await;
    let wrong = wrong.finish().await;

    let verdict =
        verdict::Verdict::read(&database.db, writing.rolled_back(), &[killed, paused]).await;
    tell(database, &format!("{verdict}\n{wrong}\n"));
    verdict.assert_promise();
    verdict.assert_some_were_rolled_back();
    verdict.assert_early_flush_reorders();
    wrong.assert_they_fail();
}

fn tell(database: &TestDatabase, counts: &str) {
    let back_end = if database.is(DbBackend::Postgres) {
        "postgres"
    } else {
        "mysql"
    };
    print!("{counts}");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("history-{back_end}.txt"));
    std::fs::write(file, counts).expect("cargo's directory for tests can be written");
}

mod postgres {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn killed_and_paused_relays_lose_and_reorder_nothing() {
        super::in_database(
            super::DbBackend::Postgres,
            super::nothing_is_lost_and_order_holds,
        )
        .await;
    }
}

mod mysql {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn killed_and_paused_relays_lose_and_reorder_nothing() {
        super::in_database(
            super::DbBackend::MySql,
            super::nothing_is_lost_and_order_holds,
        )
        .await;
    }
}
