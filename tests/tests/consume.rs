//! Exactly once through brokers: events go from an outbox through NATS or RabbitMQ to handlers of
//! two processes, which are killed at each point where it matters, cut off and stopped beyond their
//! leases; the broker is restarted. Every counter is exact and every aggregate in order.
//!
//! `BENTO_TEST_CONSUMED` is the number of events of each run (default 2,000); a thousandth of it is
//! the number of kills at each point, at least three. The counts are printed, and written to
//! `consume-<what>-<broker>-<back end>.txt` in cargo's directory for tests; the warnings of the
//! processes are in files `….log` beside them.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test that prints its counts"
)]
#![cfg(unix)]

#[path = "../../bento-brokers/tests/support/mod.rs"]
mod servers;
#[path = "../../bento-seaorm/tests/support/mod.rs"]
mod support;

#[path = "consume/broker.rs"]
mod broker;
#[path = "consume/copies.rs"]
mod copies;
#[path = "consume/exact.rs"]
mod exact;
#[path = "consume/process.rs"]
mod process;
#[path = "consume/releases.rs"]
mod releases;
#[path = "consume/scene.rs"]
mod scene;
#[path = "consume/stopped.rs"]
mod stopped;

use bento_seaorm::migrate;
use sea_orm::DbBackend;

use crate::broker::{Broker, Kind};
use crate::support::in_empty_database;

/// Runs a test with a broker and a database; without one of them it says so and returns.
async fn with(kind: Kind, backend: DbBackend, test: impl AsyncFnOnce(scene::Scene<'_>)) {
    let Some(broker) = Broker::of(kind).await else {
        eprintln!("skipped: there is no {}", kind.name());
        return;
    };
    in_empty_database(backend, async |database| {
        migrate(&database.db).await.unwrap();
        test(scene::Scene::on(database, broker).await).await;
    })
    .await;
}

macro_rules! combinations {
    ($($module:ident: $kind:ident, $backend:ident, [$($test:path => $name:ident),*];)*) => {$(
        mod $module {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    with(Kind::$kind, DbBackend::$backend, $test).await;
                }
            )*
        }
    )*};
}

combinations! {
    nats_to_postgres: Nats, Postgres, [
        exact::each_event_counts_once => each_event_counts_once,
        exact::early_acknowledgements_lose => the_control_that_acknowledges_early_loses,
        stopped::a_stopped_reader_is_replaced => a_stopped_reader_is_replaced,
        releases::an_older_reader_keeps_all => an_older_reader_keeps_what_a_newer_release_takes,
        copies::copies_are_messages => a_copy_and_its_original_are_two_messages
    ];
    nats_to_mysql: Nats, MySql, [
        exact::each_event_counts_once => each_event_counts_once
    ];
    rabbitmq_to_postgres: RabbitMq, Postgres, [
        exact::each_event_counts_once => each_event_counts_once
    ];
    rabbitmq_to_mysql: RabbitMq, MySql, [
        exact::each_event_counts_once => each_event_counts_once,
        exact::early_acknowledgements_lose => the_control_that_acknowledges_early_loses,
        stopped::a_stopped_reader_is_replaced => a_stopped_reader_is_replaced,
        releases::an_older_reader_keeps_all => an_older_reader_keeps_what_a_newer_release_takes
    ];
}
