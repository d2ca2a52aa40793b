use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderCreated {
    pub total: std::cell::Cell<u64>,
}

fn main() {}
