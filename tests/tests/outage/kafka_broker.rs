//! What the tests of Kafka's publisher have.

#![allow(dead_code, reason = "its own tests use the rest")]

use crate::servers as support;

#[path = "../../../bento-publishers/tests/kafka/gate.rs"]
pub(crate) mod gate;
#[path = "../../../bento-publishers/tests/kafka/guarded.rs"]
pub(crate) mod guarded;
#[path = "../../../bento-publishers/tests/kafka/harness.rs"]
pub(crate) mod harness;
#[path = "../../../bento-publishers/tests/kafka/login.rs"]
pub(crate) mod login;
#[path = "../../../bento-publishers/tests/http/receiver.rs"]
pub(crate) mod receiver;
#[path = "../../../bento-publishers/tests/kafka/scram.rs"]
mod scram;
#[path = "../../../bento-publishers/tests/kafka/storage.rs"]
mod storage;
