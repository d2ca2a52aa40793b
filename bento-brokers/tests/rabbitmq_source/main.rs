//! The source of RabbitMQ behaves as sources do, on a real server, with queues of both types.

#![cfg(feature = "rabbitmq")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod bench;
#[path = "../rabbitmq/broker.rs"]
mod broker;
mod own;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/mod.rs"]
mod support;

use bento_brokers::rabbitmq::RabbitMqQueueType;

use self::bench::Bench;

const URL: &str = "BENTO_TEST_RABBITMQ_URL";

bento_testkit::source_conformance!(rabbitmq_quorum, Bench::of_kind(RabbitMqQueueType::Quorum));
bento_testkit::source_conformance!(rabbitmq_classic, Bench::of_kind(RabbitMqQueueType::Classic));
