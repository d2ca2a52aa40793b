#![allow(unused)]

use bento_core::{Envelope, domain_event};
use bento_handlers::{Batch, HandleError, Projection, projection};
use bento_seaorm::OutboxTransaction;

#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Debug)]
pub struct OrderConfirmed {
    pub order_id: u64,
}

#[projection(name = "orders", version = 1)]
pub struct Orders;

fn main() {}
