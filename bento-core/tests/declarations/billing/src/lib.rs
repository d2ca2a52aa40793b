//! Declares `order.created` version 2, as `shop` does.
#![forbid(unsafe_code)]

use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 2, oldest = 2)]
#[derive(Debug)]
pub struct OrderCreated {
    pub total: u64,
}
