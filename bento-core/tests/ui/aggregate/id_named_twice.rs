use bento_core::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderCreated {}

#[aggregate(events(OrderCreated), id = number)]
pub struct Order {
    #[aggregate(id)]
    tenant: u64,
    number: u64,
    events: PendingEvents,
}

fn main() {}
