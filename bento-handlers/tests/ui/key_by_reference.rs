#![allow(unused)]

use bento_core::domain_event;
use bento_handlers::{HandleError, IdempotencyKey, event_handler};

#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Debug)]
pub struct OrderConfirmed {
    pub order_id: u64,
}

#[event_handler(name = "mail.send")]
async fn send(event: OrderConfirmed, key: &IdempotencyKey) -> Result<(), HandleError> {
    Ok(())
}

fn main() {}
