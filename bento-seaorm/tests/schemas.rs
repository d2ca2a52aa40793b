//! Outboxes in schemas of their own: a service for each, a tenant for each, and the errors where a
//! schema or a table is missing.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "a test"
)]

macro_rules! on_both_servers {
    ($($rule:ident),+ $(,)?) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                crate::support::in_empty_database(sea_orm::DbBackend::Postgres, super::$rule).await;
            })+
        }
        mod mysql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                crate::support::in_empty_database(sea_orm::DbBackend::MySql, super::$rule).await;
            })+
        }
    };
}

#[path = "schemas/apart.rs"]
mod apart;
#[path = "schemas/migrating.rs"]
mod migrating;
#[path = "schemas/missing.rs"]
mod missing;
#[path = "schemas/service.rs"]
mod service;
mod support;
