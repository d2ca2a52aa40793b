use bento_core::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "order.created", version = 1)]
pub struct OrderCreated {
    pub order_id: u64,
}

#[aggregate(events(OrderCreated))]
pub struct Order {
    id: u64,
    events: PendingEvents,
}

pub fn create(order: &mut Order) {
    order.raise(OrderCreated { order_id: 1 });
    drop(order.take());
}

fn main() {}
