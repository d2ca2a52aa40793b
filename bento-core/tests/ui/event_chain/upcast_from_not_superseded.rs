use bento_core::{UpcastFrom, domain_event};

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderCreatedV1 {}

#[domain_event(schema = "order.created", version = 2, upcast_from = OrderCreatedV1)]
#[derive(Debug)]
pub struct OrderCreated {}

impl UpcastFrom<OrderCreatedV1> for OrderCreated {
    fn upcast_from(_: OrderCreatedV1) -> Self {
        Self {}
    }
}

fn main() {}
