use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 3)]
#[derive(Debug)]
pub struct OrderCreated {
    #[event(since = 2, default = 0)]
    #[event(since = 3, default = 0)]
    pub total: u64,
}

fn main() {}
