use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
#[serde(deny_unknown_fields)]
pub struct OrderCreated {
    pub order_id: u64,
    #[serde(skip_deserializing)]
    pub total: u64,
}

fn main() {}
