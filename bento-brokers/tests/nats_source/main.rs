//! The source of NATS JetStream behaves as sources do, on a real server.

#![cfg(feature = "nats")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod bench;
mod own;
#[path = "../support/proxy.rs"]
mod proxy;
mod refusals;
#[path = "../support/streams.rs"]
mod streams;
#[path = "../support/mod.rs"]
mod support;

use self::bench::Bench;

bento_testkit::source_conformance!(nats, Bench::on_the_shared_server());
