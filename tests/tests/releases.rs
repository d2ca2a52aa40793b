//! Releases with different handlers side by side under load, and relays and workers as two
//! deployments: no event is missed, and each is handled once.
//!
//! `BENTO_TEST_RELEASES` is the number of events that each step waits for (default 60). The counts
//! are printed, and written to `<test>-<back end>.txt` in cargo's directory for tests.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test that prints its counts"
)]
#![cfg(unix)]

#[path = "../../bento-seaorm/tests/support/mod.rs"]
mod support;

#[path = "releases/deployments.rs"]
mod deployments;
#[path = "releases/load.rs"]
mod load;
#[path = "releases/scene.rs"]
mod scene;
#[path = "releases/versions.rs"]
mod versions;

use sea_orm::DbBackend;

use crate::deployments::relays_publish_while_all_workers_are_away;
use crate::support::{in_database, on_every_back_end};
use crate::versions::a_new_handler_misses_nothing_while_releases_come_and_go;

on_every_back_end!(a_new_handler_misses_nothing_while_releases_come_and_go);

// Four processes that write all the time are too many for a file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_publish_while_workers_are_away_on_postgres() {
    in_database(
        DbBackend::Postgres,
        relays_publish_while_all_workers_are_away,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_publish_while_workers_are_away_on_mysql() {
    in_database(DbBackend::MySql, relays_publish_while_all_workers_are_away).await;
}
