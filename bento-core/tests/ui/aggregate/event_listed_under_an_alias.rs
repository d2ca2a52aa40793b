use bento_core::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderCreated {}

type OrderOpened = OrderCreated;

#[aggregate(events(OrderCreated, OrderOpened))]
pub struct Order {
    id: u64,
    events: PendingEvents,
}

fn main() {}
