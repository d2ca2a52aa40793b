use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 1)]
pub union OrderCreated {
    number: u32,
    float: f32,
}

fn main() {}
