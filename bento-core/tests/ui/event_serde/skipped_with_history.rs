use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 2)]
#[derive(Debug)]
#[serde(deny_unknown_fields)]
pub struct OrderCreated {
    pub order_id: u64,
    #[serde(skip)]
    #[event(since = 2, default = 5u64)]
    pub total: u64,
}

fn main() {}
