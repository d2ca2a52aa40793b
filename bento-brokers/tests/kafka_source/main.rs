//! The source on Kafka behaves as sources do, on a broker that speaks Kafka's protocol.

#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod bench;
mod outages;
mod places;
mod reading;
#[path = "../support/mod.rs"]
mod support;

use self::bench::Bench;

bento_testkit::source_conformance!(kafka, Bench::of_the_environment());
