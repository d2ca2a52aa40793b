use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderCreated {}

pub fn create() {
    let _ = bento_core::raise(&OrderCreated {});
}

fn main() {}
