use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 2)]
#[derive(Debug)]
pub struct OrderCreated {
    pub order_id: u64,
    #[domain_event(since = 2)]
    pub note: Option<String>,
}

fn main() {}
