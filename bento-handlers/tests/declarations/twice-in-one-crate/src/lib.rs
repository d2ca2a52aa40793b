//! Declares two handlers of one name itself, and two projections of one name and version.
#![forbid(unsafe_code)]

use bento_core::domain_event;
use bento_handlers::{Batch, HandleError, IdempotencyKey, event_handler, projection};
use bento_seaorm::OutboxTransaction as Transaction;

#[domain_event(schema = "twice.happened", version = 1)]
#[derive(Debug)]
pub struct Happened {}

#[event_handler(name = "stock.reserve")]
pub async fn handle(event: Happened, key: IdempotencyKey) -> Result<(), HandleError> {
    let _ = (event, key);
    Ok(())
}

#[event_handler(name = "stock.reserve")]
pub async fn again(event: Happened, key: IdempotencyKey) -> Result<(), HandleError> {
    let _ = (event, key);
    Ok(())
}

#[projection(name = "parts", version = 1)]
pub struct Parts;

impl Parts {
    async fn project(&self, events: Batch<Happened>, tx: &Transaction) -> Result<(), HandleError> {
        let _ = (events, tx);
        Ok(())
    }
}

#[projection(name = "parts", version = 1)]
pub struct PartsAgain;

impl PartsAgain {
    async fn project(&self, events: Batch<Happened>, tx: &Transaction) -> Result<(), HandleError> {
        let _ = (events, tx);
        Ok(())
    }
}

/// Another version is another projection.
#[projection(name = "parts", version = 2)]
pub struct PartsOfTheSecond;

impl PartsOfTheSecond {
    async fn project(&self, events: Batch<Happened>, tx: &Transaction) -> Result<(), HandleError> {
        let _ = (events, tx);
        Ok(())
    }
}
