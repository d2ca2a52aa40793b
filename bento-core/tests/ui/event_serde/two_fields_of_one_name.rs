use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderCreated {
    pub total: u64,
    #[serde(rename = "total")]
    pub sum: u64,
}

fn main() {}
