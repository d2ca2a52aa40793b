use bento_core::{PendingEvents, aggregate, domain_event};
use bento_seaorm::{Error, OutboxTransaction};

#[domain_event(schema = "order.placed", version = 1)]
#[derive(Debug)]
pub struct OrderPlaced {}

#[aggregate(events(OrderPlaced))]
pub struct Order {
    id: i64,
    events: PendingEvents,
}

pub async fn place(tx: &OutboxTransaction, mut order: Order) -> Result<(), Error> {
    order.raise(OrderPlaced {});
    tx.update(&mut order).await
}

fn main() {}
