//! Calls the framework by another name, and does not say so in its attributes.
#![forbid(unsafe_code)]

pub use reactions;

use bento_core::domain_event;
use reactions::{HandleError, IdempotencyKey, event_handler};

#[domain_event(schema = "renamed.happened", version = 1)]
#[derive(Debug)]
pub struct Happened {}

#[event_handler(name = "parcel.send")]
pub async fn handle(event: Happened, key: IdempotencyKey) -> Result<(), HandleError> {
    let _ = (event, key);
    Ok(())
}
