use bento_core::{Aggregate, PendingEvents};

pub struct Order {
    pub id: u64,
    pub events: PendingEvents,
}

pub fn count(aggregate: &impl Aggregate) -> usize {
    aggregate.pending().len()
}

pub fn count_of_order(order: &Order) -> usize {
    count(order)
}

fn main() {}
