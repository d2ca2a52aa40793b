//! Faults of a set of handlers, told together when it is built.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

#[path = "../../bento-seaorm/tests/support/mod.rs"]
mod support;

use bento_core::domain_event;
use bento_handlers::{BuildFault, HandleError, Handlers, State, event_handler};
use bento_seaorm::{OutboxConnection, OutboxTransaction};
use sea_orm::DbBackend;

use crate::support::{TestDatabase, on_every_back_end};

#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Debug)]
pub struct OrderConfirmed {}

#[derive(Clone)]
struct Stock;

#[event_handler(name = "stock.reserve", concurrency = 16)]
async fn reserve(
    _event: OrderConfirmed,
    _tx: &OutboxTransaction,
    State(_stock): State<Stock>,
) -> Result<(), HandleError> {
    Ok(())
}

async fn every_fault_is_told_at_once(database: &TestDatabase) {
    let db = OutboxConnection::new(database.connect(5).await);
    let error = Handlers::registered().build(&db).unwrap_err();
    let state = BuildFault::MissingState {
        handler: "stock.reserve",
        state: std::any::type_name::<Stock>(),
    };
    let pool = BuildFault::PoolTooSmall {
        handler: "stock.reserve",
        concurrency: 16,
        pool: 5,
    };
    // With SQLite one transaction writes at a time, however large the pool is.
    let expected = match database.backend() {
        DbBackend::Sqlite => vec![state],
        _ => vec![state, pool],
    };
    assert_eq!(error.faults(), expected);
    assert!(
        error.to_string().starts_with(
            "the handlers cannot be built: handler `stock.reserve` takes `State<building::Stock>`"
        ),
        "{error}"
    );
}

async fn a_set_without_faults_is_built(database: &TestDatabase) {
    let db = OutboxConnection::new(database.connect(16).await);
    let dispatcher = Handlers::registered().state(Stock).build(&db).unwrap();
    let handler = dispatcher.descriptors().next().unwrap();
    let expected = if database.is(DbBackend::Sqlite) {
        1
    } else {
        16
    };
    assert_eq!(dispatcher.concurrency(handler), expected);
}

on_every_back_end! {
    every_fault_is_told_at_once,
    a_set_without_faults_is_built,
}
