//! NATS JetStream behaves as publishers do, on a real server.

#![cfg(feature = "nats")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod away;
#[path = "../support/certificates.rs"]
mod certificates;
mod decentralised;
mod harness;
mod own;
mod secured;
#[path = "../support/mod.rs"]
mod support;

use self::harness::Harness;

bento_testkit::publisher_conformance!(nats, Harness::on_the_shared_server());
