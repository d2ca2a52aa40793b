use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderCreated {
    #[serde(with = seconds)]
    pub order_id: u64,
}

fn main() {}
