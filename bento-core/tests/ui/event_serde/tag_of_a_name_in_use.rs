use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
#[serde(tag = "kind")]
pub struct OrderCreated {
    pub kind: u64,
}

fn main() {}
