use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderCreated {
    #[event(since = 1, default = 0)]
    pub total: u64,
}

fn main() {}
