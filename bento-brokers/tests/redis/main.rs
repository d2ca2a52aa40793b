//! Redis Streams behave as publishers do, on a real server.

#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../support/certificates.rs"]
mod certificates;
mod harness;
mod own;
#[path = "../support/mod.rs"]
mod support;

use self::harness::Harness;

bento_testkit::publisher_conformance!(redis_streams, Harness::on_the_shared_server());
