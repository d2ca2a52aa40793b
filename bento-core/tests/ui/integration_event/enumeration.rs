use bento_core::{domain_event, integration_event};

#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Debug)]
pub struct OrderConfirmed {
    pub order_id: u64,
}

#[integration_event(from = OrderConfirmed, schema = "shop.order.confirmed", version = 1)]
#[derive(Debug)]
pub enum OrderConfirmedV1 {
    Confirmed,
}

fn main() {}
