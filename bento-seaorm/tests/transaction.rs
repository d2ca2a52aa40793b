//! The rules of the transaction hook, on every back end.

#![allow(clippy::unwrap_used, missing_docs, missing_debug_implementations, unreachable_pub)]

#[path = "transaction/ambient.rs"]
mod ambient;
#[path = "transaction/nested.rs"]
mod nested;
#[path = "transaction/shop.rs"]
mod shop;
mod support;
