//! The lines that the relay and the monitor log, and their levels. In a program of its own, in
//! which each test begins with its log.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub, reason = "a test")]

mod each_time;
mod monitor;
mod relay;
#[path = "../relay/scene.rs"]
mod scene;
