#![allow(unused)]

use bento_core::domain_event;
use bento_handlers::{Batch, HandleError, event_handler};
use bento_seaorm::OutboxTransaction;

#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Debug)]
pub struct OrderConfirmed {
    pub order_id: u64,
}

#[event_handler(name = "stock.reserve", concurrency = 16)]
async fn reserve(
    events: Batch<OrderConfirmed>,
    tx: &OutboxTransaction,
) -> Result<(), HandleError> {
    Ok(())
}

fn main() {}
