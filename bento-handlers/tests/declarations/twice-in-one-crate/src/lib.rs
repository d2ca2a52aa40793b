//! Declares two handlers of one name itself.
#![forbid(unsafe_code)]

use bento_core::domain_event;
use bento_handlers::{HandleError, IdempotencyKey, event_handler};

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
