use bento_core::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug)]
pub struct OrderCreated {}

#[domain_event(schema = "parcel.returned", version = 1, superseded, consumes)]
#[derive(Debug)]
pub struct ParcelReturnedV1 {}

#[aggregate(events(OrderCreated))]
pub struct Order {
    id: u64,
    events: PendingEvents,
}

pub fn take_back(order: &mut Order) {
    order.raise(ParcelReturnedV1 {});
}

fn main() {}
