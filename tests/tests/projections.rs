//! Read models whose processes are killed around each checkpoint, each page and each swap, and a
//! version that is built while others write: at the end each event is projected once.
//!
//! `BENTO_TEST_PROJECTION_KILLS` is the number of kills at each point, 2 by default, and
//! `BENTO_TEST_PROJECTION_EVENTS` the number of stored events of the build beside writes, 10,000 by
//! default. The counts are printed.
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

#[path = "projections/building.rs"]
mod building;
#[path = "projections/killing.rs"]
mod killing;
#[path = "projections/scene.rs"]
mod scene;
