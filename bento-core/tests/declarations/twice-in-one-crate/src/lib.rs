//! Declares one event twice itself.
#![forbid(unsafe_code)]

use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderCreated {}

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderPlaced {}
