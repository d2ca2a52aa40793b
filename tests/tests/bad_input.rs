//! What no relay can bring anywhere, through real adapters: it becomes a dead letter that explains
//! itself, and nothing beside it is lost.
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
