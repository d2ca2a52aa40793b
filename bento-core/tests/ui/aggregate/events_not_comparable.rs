use bento_core::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderCreated {}

#[domain_event(schema = "order.paid", version = 1)]
#[derive(Debug, PartialEq)]
pub struct OrderPaid {}

#[aggregate(events(OrderCreated, OrderPaid))]
pub struct Order {
    id: u64,
    events: PendingEvents,
}

pub fn check(order: &Order) {
    assert_eq!(order.pending(), [OrderPaid {}.into()]);
}

fn main() {}
