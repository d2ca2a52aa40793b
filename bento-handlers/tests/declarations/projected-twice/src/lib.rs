//! Declares two projections of one name and version itself.
#![forbid(unsafe_code)]

use bento_core::domain_event;
use bento_handlers::{Batch, HandleError, projection};
use bento_seaorm::OutboxTransaction as Transaction;

#[domain_event(schema = "twice.happened", version = 1)]
#[derive(Debug)]
pub struct Happened {}

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
