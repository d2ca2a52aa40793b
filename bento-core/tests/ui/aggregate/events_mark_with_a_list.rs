use bento_core::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderCreated {}

#[aggregate(name = "order")]
pub struct Order {
    id: u64,
    #[aggregate(events(OrderCreated))]
    events: PendingEvents,
}

pub fn create(order: &mut Order) {
    order.raise(OrderCreated {});
}

fn main() {}
