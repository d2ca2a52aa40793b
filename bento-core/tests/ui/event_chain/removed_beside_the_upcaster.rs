use bento_core::{UpcastFrom, domain_event};

#[domain_event(schema = "order.created", version = 1, superseded)]
#[derive(Debug)]
pub struct OrderCreatedV1 {}

#[domain_event(schema = "order.created", version = 2, upcast_from = OrderCreatedV1, removed("sum", since = 2))]
#[derive(Debug)]
pub struct OrderCreated {
    pub total: u64,
}

impl UpcastFrom<OrderCreatedV1> for OrderCreated {
    fn upcast_from(_: OrderCreatedV1) -> Self {
        Self { total: 0 }
    }
}

fn main() {}
