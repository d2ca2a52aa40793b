//! Kafka's publisher behaves as publishers do, on a broker that speaks Kafka's protocol.

#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod harness;
mod own;
mod proxy;
mod refusals;
#[path = "../support/mod.rs"]
mod support;

use self::harness::Topic;

bento_testkit::publisher_conformance!(kafka, Topic::of_the_environment());
