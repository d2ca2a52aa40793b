use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 99999999999)]
#[derive(Debug)]
pub struct OrderCreated {
    pub order_id: u64,
}

fn main() {}
