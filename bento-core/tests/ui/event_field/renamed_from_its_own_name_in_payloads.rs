use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 2)]
#[derive(Debug)]
pub struct OrderCreated {
    #[serde(rename = "orderRef")]
    #[event(renamed_from = "orderRef", since = 2)]
    pub order_ref: u64,
}

fn main() {}
