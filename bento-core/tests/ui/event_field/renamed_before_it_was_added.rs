use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 3)]
#[derive(Debug)]
pub struct OrderCreated {
    #[event(since = 3, default = 0)]
    #[event(renamed_from = "sum", since = 2)]
    pub total: u64,
}

fn main() {}
