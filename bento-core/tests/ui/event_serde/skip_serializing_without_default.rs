use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderCreated {
    pub order_id: u64,
    #[serde(skip_serializing)]
    pub note: String,
}

fn main() {}
