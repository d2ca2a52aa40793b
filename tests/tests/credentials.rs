//! A relay's password is withdrawn while it publishes, and given back: the circuit opens, nothing
//! becomes a dead letter, and everything arrives.
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test program that says what it skips"
)]

#[path = "../../bento-brokers/tests/support/mod.rs"]
mod servers;
#[path = "../../bento-seaorm/tests/support/mod.rs"]
mod support;

#[path = "credentials/http.rs"]
mod http;
#[path = "credentials/kafka.rs"]
mod kafka;
#[path = "credentials/nats.rs"]
mod nats;
#[path = "credentials/rabbitmq.rs"]
mod rabbitmq;
#[path = "credentials/redis.rs"]
mod redis;
#[allow(dead_code, reason = "the tests that it was made for use the rest")]
#[path = "bad_input/scene.rs"]
mod scene;
#[path = "credentials/withdrawn.rs"]
mod withdrawn;
