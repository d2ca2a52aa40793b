//! RabbitMQ's publisher behaves as publishers do, on a real server.

#![cfg(feature = "rabbitmq")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod broker;
#[path = "../support/certificates.rs"]
mod certificates;
mod harness;
mod own;
mod secured;
#[path = "../support/mod.rs"]
mod support;

use self::harness::Queue;

bento_testkit::publisher_conformance!(rabbitmq, Queue::of_the_environment());
