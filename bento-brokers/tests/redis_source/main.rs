//! The source of Redis Streams behaves as sources do, on a real server.

#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod bench;
mod own;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use self::bench::Bench;

const PATIENCE: Duration = Duration::from_secs(30);

bento_testkit::source_conformance!(redis, Bench::on_the_shared_server());
