use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 3, removed("total", since = 3))]
#[derive(Debug)]
pub struct OrderCreated {
    #[event(renamed_from = "total", since = 2)]
    pub sum: u64,
}

fn main() {}
