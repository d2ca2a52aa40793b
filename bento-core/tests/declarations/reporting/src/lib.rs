//! Reads `order.created` version 2 without declaring it.
#![forbid(unsafe_code)]

use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 2, oldest = 2, consumes)]
#[derive(Debug)]
pub struct OrderCreated {
    pub currency: String,
}
