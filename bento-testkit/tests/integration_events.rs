//! Tests of an aggregate whose events integration events are made from.

#![allow(missing_docs, missing_debug_implementations, reason = "a test")]

use bento_core::{PendingEvents, aggregate, domain_event, integration_event};
use bento_testkit::{given, raised_by};

#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Clone, Debug, PartialEq)]
struct OrderConfirmed {
    order_id: u64,
}

#[integration_event(from = OrderConfirmed, schema = "shop.order.confirmed", version = 1)]
#[derive(Clone, Debug)]
struct OrderConfirmedV1 {
    order_id: u64,
}

impl From<&OrderConfirmed> for OrderConfirmedV1 {
    fn from(event: &OrderConfirmed) -> Self {
        assert!(event.order_id != 13, "order 13 has no number");
        Self {
            order_id: event.order_id,
        }
    }
}

#[aggregate(events(OrderConfirmed))]
struct Order {
    id: u64,
    events: PendingEvents,
}

impl Order {
    fn new(id: u64) -> Self {
        Self {
            id,
            events: PendingEvents::default(),
        }
    }

    fn confirm(&mut self) {
        self.raise(OrderConfirmed { order_id: self.id });
    }
}

#[test]
fn what_is_made_of_an_event_was_not_raised() {
    let raised = raised_by(|| Order::new(7).confirm());
    let types: Vec<_> = raised.iter().map(|event| &*event.event_type).collect();
    assert_eq!(types, ["order.confirmed"]);
    given(Order::new(7))
        .when(Order::confirm)
        .raises(OrderConfirmed { order_id: 7 })
        .and_nothing_else();
    bento_testkit::assert_registry!(OrderConfirmedV1);
}

#[test]
#[should_panic(expected = "order 13 has no number")]
fn a_conversion_that_panics_fails_the_test() {
    raised_by(|| Order::new(13).confirm());
}
