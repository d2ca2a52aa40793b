use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 2)]
#[derive(Debug)]
pub struct OrderCreated {
    #[event(renamed_from = "", since = 2)]
    pub total: u64,
}

fn main() {}
