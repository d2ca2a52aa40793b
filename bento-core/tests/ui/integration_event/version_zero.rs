use bento_core::{domain_event, integration_event};

#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Debug)]
pub struct OrderConfirmed {
    pub order_id: u64,
}

#[integration_event(from = OrderConfirmed, schema = "shop.order.confirmed", version = 0)]
#[derive(Debug)]
pub struct OrderConfirmedV1 {
    pub order_id: u64,
}

impl From<&OrderConfirmed> for OrderConfirmedV1 {
    fn from(event: &OrderConfirmed) -> Self {
        Self { order_id: event.order_id }
    }
}

fn main() {}
