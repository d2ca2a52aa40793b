use bento_core::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "order.created", version = 1)]
#[derive(Debug, PartialEq)]
pub struct OrderCreated {}

#[aggregate(events(OrderCreated, biling::OrderPaid))]
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    id: u64,
    events: PendingEvents,
}

pub fn create(order: &mut Order) {
    order.raise(OrderCreated {});
    assert_eq!(order.pending(), [OrderCreated {}.into()]);
    for event in order.take() {
        match event.clone() {
            OrderEvent::OrderCreated(created) => println!("{created:?}"),
            OrderEvent::OrderPaid(paid) => println!("{event:?} {}", paid.amount),
        }
    }
}

fn main() {}
