//! Given, when, then; what is declared; oversights.
#![allow(missing_docs)]

use bento_core::{PendingEvents, aggregate, domain_event};
use bento_testkit::given;

#[domain_event(schema = "order.paid", version = 1)]
#[derive(Clone, Debug)]
pub struct OrderPaid {
    pub order_id: u32,
    pub notes: std::collections::HashMap<String, String>,
}

#[domain_event(schema = "order.shipped", version = 1)]
#[derive(Clone, Debug)]
pub struct OrderShipped {
    pub order_id: u32,
}

#[domain_event(schema = "stock.counted", version = 1)]
#[derive(Clone, Debug)]
pub struct StockCounted {
    pub left: u32,
}

#[aggregate(events(OrderPaid, OrderShipped))]
#[derive(Debug)]
pub struct Order {
    id: u32,
    events: PendingEvents,
}

#[aggregate(events(OrderShipped))]
#[derive(Debug)]
pub struct Unnamed {
    id: String,
    events: PendingEvents,
}

impl Order {
    fn new(id: u32) -> Self {
        Self {
            id,
            events: PendingEvents::default(),
        }
    }

    fn pay(&mut self) {
        self.raise(paid(self.id));
    }

    fn ship(&mut self) -> u32 {
        self.raise(OrderShipped { order_id: self.id });
        bento_core::raise(StockCounted { left: 3 }).expect("the action runs in a scope");
        self.id
    }
}

fn paid(order_id: u32) -> OrderPaid {
    let notes = (0..20)
        .map(|number| (number.to_string(), String::new()))
        .collect();
    OrderPaid { order_id, notes }
}

fn order() -> Order {
    let mut order = Order::new(7);
    order.pay();
    order
}

#[test]
fn what_is_raised_is_checked_in_order() {
    let then = given(order()).when(|order| {
        order.pay();
        order.ship()
    });
    assert_eq!(then.result, 7);
    assert_eq!(then.raised[0].aggregate_id, "7");
    let then = then
        .raises(paid(7))
        .raises(OrderShipped { order_id: 7 })
        .raises_free(StockCounted { left: 3 });
    assert!(then.and_nothing_else().aggregate.pending().is_empty());
}

#[tokio::test]
async fn an_action_may_wait() {
    let then = given(order())
        .when_async(async |order| {
            tokio::task::yield_now().await;
            order.pay();
        })
        .await;
    then.raises(paid(7)).and_nothing_else();
}

#[test]
#[should_panic(
    expected = "`order.shipped` v1 {\"order_id\":8} was expected, but what was raised is:\n  \
                           `order.shipped` v1 {\"order_id\":7}\n  `stock.counted` v1 {\"left\":3}"
)]
fn another_payload_is_another_event() {
    given(order())
        .when(Order::ship)
        .raises(OrderShipped { order_id: 8 });
}

#[test]
#[should_panic(
    expected = "nothing else was expected, but what was raised after the first 1 \
                is:\n  `stock.counted`"
)]
fn an_event_too_many_is_shown() {
    given(order())
        .when(Order::ship)
        .raises(OrderShipped { order_id: 7 })
        .and_nothing_else();
}

#[test]
#[should_panic(expected = "was expected, but no event was raised")]
fn a_missing_event_is_said() {
    given(order())
        .and(|order| order.pay())
        .when(|_| ())
        .raises(paid(7));
}

#[test]
#[should_panic(expected = "a raised event could not be written")]
fn an_id_without_text_is_found() {
    let unnamed = Unnamed {
        id: String::new(),
        events: PendingEvents::default(),
    };
    let _ = given(unnamed).when(|unnamed| unnamed.raise(OrderShipped { order_id: 0 }));
}

#[test]
fn an_id_of_0_is_an_id() {
    given(Order::new(0))
        .when(Order::pay)
        .raises(paid(0))
        .and_nothing_else();
}

#[test]
fn what_is_declared_here_fits_together() {
    bento_testkit::assert_registry!();
    bento_testkit::assert_registry!(OrderPaid, OrderShipped, StockCounted);
}

#[test]
fn under_strict_a_forgotten_event_panics() {
    let forgotten = std::panic::catch_unwind(|| {
        bento_testkit::strict();
        drop(order());
    });
    let panic = forgotten.expect_err("the event is lost");
    let text = panic.downcast_ref::<String>().expect("a message");
    assert!(
        text.contains("order.paid") && text.contains("aggregate.rs"),
        "{text}"
    );
}
