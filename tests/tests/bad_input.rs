//! Events that no relay can deliver, through real adapters: each becomes a dead letter that names
//! its cause, and no other event is lost.
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

#[path = "bad_input/destinations.rs"]
mod destinations;
#[path = "bad_input/nats.rs"]
mod nats;
#[path = "bad_input/scene.rs"]
mod scene;
#[path = "bad_input/webhook.rs"]
mod webhook;
