//! Handlers that fail, and events that they cannot take: each ends as a dead letter or waits, and
//! nothing else does.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test that prints its numbers"
)]

#[path = "../../bento-seaorm/tests/support/mod.rs"]
mod support;

#[path = "handler_faults/events.rs"]
mod events;
#[path = "handler_faults/failing.rs"]
mod failing;
#[path = "handler_load/log.rs"]
mod log;
#[path = "handler_faults/renamed.rs"]
mod renamed;
#[path = "handler_faults/scene.rs"]
mod scene;

use sea_orm::DbBackend;

use crate::events::{
    a_malformed_event_is_a_dead_letter_and_a_newer_one_waits,
    handlers_that_raise_each_others_events_come_to_an_end,
};
use crate::failing::handlers_that_fail_starve_no_other;
use crate::support::{in_database, on_every_back_end};

on_every_back_end!(
    handlers_that_fail_starve_no_other,
    handlers_that_raise_each_others_events_come_to_an_end,
    a_malformed_event_is_a_dead_letter_and_a_newer_one_waits,
);

/// On one thread, for the log.
#[tokio::test]
async fn what_a_renamed_handler_has_left_waits_for_its_old_name() {
    in_database(
        DbBackend::Sqlite,
        renamed::what_a_renamed_handler_has_left_waits_for_its_old_name,
    )
    .await;
}
