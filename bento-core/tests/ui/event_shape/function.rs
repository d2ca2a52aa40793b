use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 1)]
pub fn order_created() {}

fn main() {}
