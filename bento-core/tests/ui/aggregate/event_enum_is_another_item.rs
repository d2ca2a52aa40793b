use bento_core::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderCreated {}

#[derive(Clone, Debug)]
pub enum OrderEvent {
    Created,
}

#[aggregate(events(OrderCreated))]
pub struct Order {
    id: u64,
    events: PendingEvents,
}

fn main() {}
