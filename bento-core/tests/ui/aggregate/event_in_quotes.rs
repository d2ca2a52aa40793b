use bento_core::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderCreated {}

#[aggregate(events("OrderCreated"))]
pub struct Order {
    id: u64,
    events: PendingEvents,
}

pub fn create(order: &mut Order) {
    order.raise(OrderCreated {});
    for OrderEvent::OrderCreated(_) in order.take() {}
}

fn main() {}
