use bento_core::{UpcastFrom, domain_event};

#[domain_event(schema = "order.created", version = 2, oldest = 2, superseded)]
#[derive(Debug)]
pub struct OrderCreatedV2 {}

#[domain_event(schema = "order.created", version = 3, oldest = 1, upcast_from = OrderCreatedV2)]
#[derive(Debug)]
pub struct OrderCreated {}

impl UpcastFrom<OrderCreatedV2> for OrderCreated {
    fn upcast_from(_: OrderCreatedV2) -> Self {
        Self {}
    }
}

fn main() {}
