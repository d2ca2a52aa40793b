use bento_core::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderCreated {
    pub order_id: u64,
}

#[aggregate(events(OrderCreated))]
pub struct Order {
    id: u64,
    events: PendingEvents,
}

#[domain_event(schema = "order.paid", version = 1)]
#[derive(Debug)]
pub struct OrderPaid {}

pub fn pay(order: &mut Order) {
    order.raise(OrderPaid {});
}

fn main() {}
