//! The broker of the tests of Kafka's publisher.

#![allow(dead_code, reason = "its own tests use the rest")]

use crate::servers as support;

#[path = "../../../bento-brokers/tests/kafka/gate.rs"]
pub(crate) mod gate;
#[path = "../../../bento-brokers/tests/kafka/guarded.rs"]
pub(crate) mod guarded;
#[path = "../../../bento-brokers/tests/kafka/harness.rs"]
pub(crate) mod harness;
#[path = "../../../bento-brokers/tests/kafka/login.rs"]
pub(crate) mod login;
#[path = "../../../bento-brokers/tests/http/receiver.rs"]
pub(crate) mod receiver;
#[path = "../../../bento-brokers/tests/kafka/scram.rs"]
mod scram;
#[path = "../../../bento-brokers/tests/kafka/storage.rs"]
mod storage;
