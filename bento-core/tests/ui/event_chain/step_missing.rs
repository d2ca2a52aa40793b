use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 3)]
#[derive(Debug)]
pub struct OrderCreated {
    pub order_id: u64,
    #[event(since = 3, default = 0)]
    pub total: u64,
}

fn main() {}
