use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 2)]
#[derive(Debug)]
pub struct OrderCreated {
    pub order_id: u64,
    #[event(since = 2, default = "Vec::new")]
    pub lines: String,
}

fn main() {}
