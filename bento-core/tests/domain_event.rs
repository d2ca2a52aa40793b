//! What `#[domain_event]` makes of a struct.

#![allow(missing_docs, missing_debug_implementations)]

use bento_core::{DomainEvent, Registry, UpcastFrom, codec, domain_event};
use bento_core::{PendingEvents, aggregate};

#[domain_event(schema = "order.created", version = 3, removed("legacy", since = 3))]
#[derive(Clone, Debug, PartialEq)]
pub struct OrderCreated {
    pub order_id: u64,
    pub total: i128,
    #[event(since = 2, default = "USD")]
    #[event(renamed_from = "curr", since = 3)]
    pub currency: String,
}

#[domain_event(schema = "order.paid", version = 1, superseded)]
#[derive(Debug)]
pub struct OrderPaidV1 {
    pub order_id: u64,
}

#[domain_event(schema = "order.paid", version = 2, upcast_from = OrderPaidV1)]
#[derive(Debug)]
pub struct OrderPaid {
    pub order_id: String,
}
impl UpcastFrom<OrderPaidV1> for OrderPaid {
    fn upcast_from(old: OrderPaidV1) -> Self {
        Self { order_id: old.order_id.to_string() }
    }
}

#[aggregate(events(OrderCreated, OrderPaid))]
pub struct Order {
    id: u64,
    events: PendingEvents,
}

#[test]
fn first() {
    let event: OrderCreated = codec::decode(
        "order.created",
        1,
        br#"{"order_id":1,"total":170141183460469231731687303715884105727,"legacy":1}"#,
    )
    .unwrap();
    assert_eq!(event, OrderCreated { order_id: 1, total: i128::MAX, currency: "USD".into() });
    Registry::global().validate().unwrap();
    println!("{}", Registry::global().catalogue().to_text());
    let mut order = Order { id: 1, events: PendingEvents::default() };
    order.raise(OrderPaid { order_id: "1".into() });
    for event in order.take() {
        match event {
            OrderEvent::OrderCreated(_) => panic!(),
            OrderEvent::OrderPaid(paid) => assert_eq!(paid.order_id, "1"),
        }
    }
    let any = Registry::global().decode("order.paid", 1, br#"{"order_id":7}"#).unwrap();
    assert_eq!(any.downcast_ref::<OrderPaid>().unwrap().order_id, "7");
    assert_eq!(OrderPaid::VERSION, 2);
    let _ = order.id;
}
