use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 1, superseded)]
#[derive(Debug)]
pub struct OrderCreatedV1 {}

#[domain_event(schema = "order.created", version = 2, upcast_from = OrderCreatedV1)]
#[derive(Debug)]
pub struct OrderCreated {}

fn main() {}
