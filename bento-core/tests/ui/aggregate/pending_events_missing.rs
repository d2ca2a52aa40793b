use bento_core::{aggregate, domain_event};

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderCreated {}

#[aggregate(events(OrderCreated))]
pub struct Order {
    id: u64,
}

pub fn create(order: &mut Order) {
    order.raise(OrderCreated {});
}

fn main() {}
