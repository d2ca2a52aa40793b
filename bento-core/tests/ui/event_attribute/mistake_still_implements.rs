use bento_core::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "Order", version = 1)]
#[derive(Debug)]
pub struct OrderCreated {
    #[event(since = 2)]
    pub order_id: u64,
}

#[aggregate(events(OrderCreated))]
pub struct Order {
    id: u64,
    events: PendingEvents,
}

pub fn create(order: &mut Order) {
    order.raise(OrderCreated { order_id: order.id });
}

fn main() {}
