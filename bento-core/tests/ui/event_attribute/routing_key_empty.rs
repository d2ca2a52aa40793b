use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 1, routing_key = "")]
#[derive(Debug)]
pub struct OrderCreated {
    pub order_id: u64,
}

fn main() {}
