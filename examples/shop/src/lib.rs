//! Two services on Bento: the shop takes orders over HTTP, and the stock reserves what they need.
//! They talk through a broker. The README walks through them.
#![allow(missing_docs, reason = "an example: the README and the code say it")]

pub mod answer;
pub mod config;
pub mod contract;
pub mod http;
pub mod list;
pub mod messaging;
pub mod migration;
pub mod operations;
pub mod order;
pub mod problem;
pub mod request;
pub mod service;
pub mod stock;
pub mod store;

/// A result whose error ends the start or the service: the error is reported, never handled.
pub type Result<T = (), E = bento::Report> = std::result::Result<T, E>;
