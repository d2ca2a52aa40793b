//! The quickstart, which calls the front door `events`.
#![allow(
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "an example prints, and nothing depends on it"
)]

include!(concat!(env!("OUT_DIR"), "/main.rs"));
