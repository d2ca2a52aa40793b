use bento_core::domain_event;

#[domain_event(schema = "order.created", version = 2, upcast_from = OrderCreated)]
#[derive(Debug)]
pub struct OrderCreated {
    pub order_id: u64,
}

#[domain_event(schema = "order.paid", version = 2, upcast_from = self::OrderPaid)]
#[derive(Debug)]
pub struct OrderPaid {}

fn main() {}
