//! From the outbox to the broker.

pub mod store;
