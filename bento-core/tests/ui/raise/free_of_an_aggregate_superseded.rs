use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 1, superseded)]
#[derive(Debug)]
pub struct OrderCreatedV1 {}

pub fn create() {
    let _ = bento_core::raise(OrderCreatedV1 {});
}

fn main() {}
