use bento_core::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderCreated {}

#[aggregate(events(OrderCreated))]
pub struct Order {
    id: u64,
    events: PendingEvents,
}

#[domain_event(schema = "invoice.paid", version = 1, consumes)]
#[derive(Debug)]
pub struct InvoicePaid {}

pub fn raise(order: &mut Order) {
    order.raise(InvoicePaid {});
}

fn main() {}
