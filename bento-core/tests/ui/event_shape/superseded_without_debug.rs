use bento_core::{UpcastFrom, domain_event};

#[domain_event(schema = "order.created", version = 1, superseded)]
pub struct OrderCreatedV1 {
    pub number: u32,
}

#[domain_event(schema = "order.created", version = 2, upcast_from = OrderCreatedV1)]
#[derive(Debug)]
pub struct OrderCreated {
    pub number: u64,
}

impl UpcastFrom<OrderCreatedV1> for OrderCreated {
    fn upcast_from(old: OrderCreatedV1) -> Self {
        Self { number: old.number.into() }
    }
}

fn main() {}
