use bento_core::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderCreated {}

#[aggregate(events(OrderCreated))]
pub struct Order {
    id: u64,
    events: PendingEvents,
}

#[domain_event(schema = "order.paid", version = 1, superseded)]
#[derive(Debug)]
pub struct OrderPaidV1 {}

pub fn raise(order: &mut Order) {
    order.raise(OrderPaidV1 {});
}

fn main() {}
