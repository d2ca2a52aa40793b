//! Kafka's publisher behaves as publishers do, on a broker that speaks Kafka's protocol.

#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../support/certificates.rs"]
mod certificates;
mod gate;
#[allow(dead_code, reason = "the test of withdrawn passwords uses the rest")]
mod guarded;
mod harness;
mod login;
mod own;
#[path = "../http/receiver.rs"]
#[allow(dead_code, reason = "its own tests use the rest")]
mod receiver;
mod refusals;
mod scram;
mod secured;
mod storage;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tls_server.rs"]
mod tls_server;

use self::harness::Topic;

bento_testkit::publisher_conformance!(kafka, Topic::of_the_environment());
