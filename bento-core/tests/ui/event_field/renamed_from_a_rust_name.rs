use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 2)]
#[derive(Debug)]
pub struct OrderCreated {
    #[serde(rename = "customer")]
    pub order_ref: u64,
    #[event(renamed_from = "order_ref", since = 2)]
    pub order_number: u64,
}

fn main() {}
