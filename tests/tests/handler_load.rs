//! Handlers under load on PostgreSQL: slow calls delay nothing else, and calls that wait run as
//! many at once as they may.
//!
//! `BENTO_TEST_HANDLER_LOAD` is the number of events (default 1,200 for the delays, 1,600 for
//! the rate). The numbers are printed, and written to `handler-<what>.txt` in cargo's directory for
//! tests.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test that prints its numbers"
)]

#[path = "../../bento-seaorm/tests/support/mod.rs"]
mod support;

#[path = "handler_load/keyed.rs"]
mod keyed;
#[path = "handler_load/log.rs"]
mod log;
#[path = "handler_load/slow.rs"]
mod slow;
#[path = "handler_load/stage.rs"]
mod stage;

use sea_orm::DbBackend;

use crate::support::in_database;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_call_delays_no_event_of_another_aggregate() {
    in_database(
        DbBackend::Postgres,
        slow::a_slow_call_delays_no_event_of_another_aggregate,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_wait_run_as_many_at_once_as_they_may() {
    in_database(
        DbBackend::Postgres,
        keyed::calls_that_wait_run_as_many_at_once_as_they_may,
    )
    .await;
}
