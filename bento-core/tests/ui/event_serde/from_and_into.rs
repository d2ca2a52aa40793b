use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
#[serde(from = "u64", into = "u64")]
pub struct OrderCreated {
    pub order_id: u64,
}

fn main() {}
