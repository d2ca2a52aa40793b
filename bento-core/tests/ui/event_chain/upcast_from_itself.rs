use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 2, upcast_from = OrderCreated)]
#[derive(Debug)]
pub struct OrderCreated {
    pub order_id: u64,
}

fn main() {}
