use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
#[serde(rename_all = "camelCase")]
pub struct OrderCreated {
    pub äpfel: u64,
}

fn main() {}
