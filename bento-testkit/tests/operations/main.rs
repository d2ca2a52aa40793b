//! The commands of an operator and their answers, on the store in memory.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "a test")]

mod alerts;
mod events;
mod monitor;
mod operator;
mod scene;
