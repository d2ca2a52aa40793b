use bento_core::{UpcastFrom, domain_event};

#[domain_event(schema = "order.created", version = 1, superseded, upcast_from = OrderCreatedV2)]
#[derive(Debug)]
pub struct OrderCreatedV1 {}

impl UpcastFrom<OrderCreatedV2> for OrderCreatedV1 {
    fn upcast_from(_: OrderCreatedV2) -> Self {
        Self {}
    }
}

#[domain_event(schema = "order.created", version = 2, superseded, upcast_from = OrderCreatedV1)]
#[derive(Debug)]
pub struct OrderCreatedV2 {}

impl UpcastFrom<OrderCreatedV1> for OrderCreatedV2 {
    fn upcast_from(_: OrderCreatedV1) -> Self {
        Self {}
    }
}

fn main() {}
