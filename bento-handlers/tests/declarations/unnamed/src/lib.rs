//! Uses the framework through another crate, and does not say so in its attributes.
#![forbid(unsafe_code)]

use bento_core::domain_event;
use renamed::reactions::{HandleError, IdempotencyKey, event_handler};

#[domain_event(schema = "unnamed.happened", version = 1)]
#[derive(Debug)]
pub struct Happened {}

#[event_handler(name = "parcel.lose")]
pub async fn handle(event: Happened, key: IdempotencyKey) -> Result<(), HandleError> {
    let _ = (event, key);
    Ok(())
}
