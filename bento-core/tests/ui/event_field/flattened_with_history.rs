use bento_core::domain_event;

#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Address {
    pub street: String,
}

#[domain_event(schema = "order.created", version = 2)]
#[derive(Debug)]
pub struct OrderCreated {
    #[serde(flatten)]
    #[event(since = 2, default = Address { street: String::new() })]
    pub address: Address,
}

fn main() {}
