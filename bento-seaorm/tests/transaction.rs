//! The rules of the transaction hook, on every back end.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub
)]

#[path = "transaction/ambient.rs"]
mod ambient;
#[path = "transaction/cancellation.rs"]
mod cancellation;
#[path = "transaction/commits.rs"]
mod commits;
#[path = "transaction/endings.rs"]
mod endings;
#[path = "transaction/event_sourced.rs"]
mod event_sourced;
#[path = "transaction/failures.rs"]
mod failures;
#[path = "transaction/late_commits.rs"]
mod late_commits;
#[path = "transaction/ledger.rs"]
mod ledger;
#[path = "transaction/limits.rs"]
mod limits;
#[path = "transaction/loading.rs"]
mod loading;
#[path = "transaction/log.rs"]
mod log;
#[path = "transaction/meter.rs"]
mod meter;
#[path = "transaction/nested.rs"]
mod nested;
#[path = "transaction/retrying.rs"]
mod retrying;
#[path = "transaction/saving.rs"]
mod saving;
#[path = "transaction/seaorm.rs"]
mod seaorm;
#[path = "transaction/sessions.rs"]
mod sessions;
#[path = "transaction/shop.rs"]
mod shop;
#[path = "transaction/snapshots.rs"]
mod snapshots;
#[path = "transaction/spans.rs"]
mod spans;
mod support;
#[path = "transaction/telling.rs"]
mod telling;
#[path = "transaction/tenants.rs"]
mod tenants;
#[path = "transaction/versions.rs"]
mod versions;
#[path = "transaction/warehouse.rs"]
mod warehouse;
