#![allow(unused)]

use bento_core::{Envelope, domain_event};
use bento_handlers::{Batch, HandleError, Projection, projection};
use bento_seaorm::OutboxTransaction;

#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Debug)]
pub struct OrderConfirmed {
    pub order_id: u64,
}

#[projection(schema = "order.paid", version = 1)]
#[derive(Debug)]
pub struct OrderPaid {}

#[bento_handlers::event_handler(name = "orders.index")]
async fn index(event: OrderPaid, tx: &OutboxTransaction) -> Result<(), HandleError> {
    Ok(())
}

fn main() {}
