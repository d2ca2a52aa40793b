//! The common parts of the benchmarks: a database of each run's own, rounds that interleave the
//! contenders, and the tables they print.
//!
//! One binary per question: `flush`, `drain`, `decode`, `route`. How they are compared, and why it
//! is fair, is in `README.md`.

use std::error::Error;

pub mod arguments;
pub mod cost;
pub mod database;
pub mod environment;
pub mod order;
pub mod rounds;

/// The result of a run: any failure ends it.
pub type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
