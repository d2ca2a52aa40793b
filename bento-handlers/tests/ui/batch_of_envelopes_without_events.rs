#![allow(unused)]

use bento_core::domain_event;
use bento_handlers::{HandleError, event_handler};
use bento_seaorm::OutboxTransaction;

#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Debug)]
pub struct OrderConfirmed {
    pub order_id: u64,
}

#[event_handler(name = "audit.write")]
async fn write(
    events: bento_handlers::Batch<bento_core::Envelope>,
    tx: &OutboxTransaction,
) -> Result<(), HandleError> {
    Ok(())
}

fn main() {}
