//! A broker stops for half a minute while events are committed, and is started again: nothing is
//! lost, order holds, the circuit opens and closes, and nothing becomes a dead letter.
//!
//! Each broker is a process of its own that keeps what it confirmed (Kafka's stand-in keeps it as
//! objects in the test). `BENTO_OUTAGE_SECONDS` sets how long it is away; 30 unless set. All
//! brokers are tested at the same time. The counts are printed, and written to
//! `outage-<broker>.txt` in cargo's directory for tests.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test that prints its counts"
)]

#[path = "../../bento-brokers/tests/support/mod.rs"]
mod servers;
#[path = "../../bento-seaorm/tests/support/mod.rs"]
mod support;

#[path = "outage/kafka.rs"]
mod kafka;
#[path = "outage/load.rs"]
mod load;
#[path = "outage/nats.rs"]
mod nats;
#[path = "outage/rabbitmq.rs"]
mod rabbitmq;
#[path = "outage/redis.rs"]
mod redis;
#[path = "outage/scene.rs"]
mod scene;
