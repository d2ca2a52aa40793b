use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 2)]
#[derive(Debug)]
pub struct OrderCreated {
    #[event(renamed_from = "r#type", since = 2)]
    pub kind: u64,
}

fn main() {}
