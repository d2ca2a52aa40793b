use bento_core::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderCreated {}

#[domain_event(schema = "order.paid", version = 1, superseded)]
#[derive(Debug)]
pub struct OrderPaidV1 {}

#[aggregate(events(OrderCreated, OrderPaidV1))]
pub struct Order {
    id: u64,
    events: PendingEvents,
}

fn main() {}
