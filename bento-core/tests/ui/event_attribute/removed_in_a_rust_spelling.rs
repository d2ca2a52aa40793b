use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 2, removed("fax_number", since = 2))]
#[derive(Debug)]
#[serde(rename_all = "camelCase")]
pub struct OrderCreated {
    pub order_id: u64,
}

fn main() {}
