use bento_core::domain_event;

fn currency() -> String {
    "EUR".to_owned()
}

#[domain_event(schema = "order.created", version = 2)]
#[derive(Debug)]
pub struct OrderCreated {
    pub order_id: u64,
    #[event(since = 2, default = "currency")]
    pub currency: String,
}

fn main() {}
