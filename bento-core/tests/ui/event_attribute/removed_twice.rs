use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 3, removed("fax", since = 2), removed("fax", since = 3))]
#[derive(Debug)]
pub struct OrderCreated {
    pub order_id: u64,
}

fn main() {}
