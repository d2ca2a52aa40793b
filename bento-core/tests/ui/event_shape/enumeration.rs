use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub enum OrderCreated {
    Online,
    InStore,
}

fn main() {}
