use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 2)]
#[derive(Debug)]
#[serde(rename_all = "camelCase")]
pub struct OrderCreated {
    #[event(renamed_from = "order_ref", since = 2)]
    pub order_number: u64,
}

fn main() {}
