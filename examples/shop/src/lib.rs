//! An order service on Bento: axum, SeaORM, an outbox, a relay in the same process. The README
//! walks through it.
#![allow(missing_docs, reason = "an example: the README and the code say it")]

pub mod config;
pub mod http;
pub mod migration;
pub mod operations;
pub mod order;
pub mod problem;
pub mod request;
pub mod service;
pub mod store;

/// A result whose error ends the start or the service: the error is reported, never handled.
pub type Result<T = (), E = bento::Report> = std::result::Result<T, E>;
