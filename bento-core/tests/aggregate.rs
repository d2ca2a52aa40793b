//! What `#[aggregate]` makes of a struct.

#![allow(missing_docs, missing_debug_implementations, unreachable_pub, clippy::unwrap_used)]

use bento_core::{Aggregate, Metadata, PendingEvents, aggregate, domain_event};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[domain_event(schema = "order.created", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct OrderCreated {
    pub number: u64,
}

#[domain_event(schema = "order.paid", version = 1)]
#[derive(Debug)]
pub struct OrderPaid {}

/// What a customer has asked for.
#[aggregate(events(OrderCreated, OrderPaid))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Kept: attributes, visibility and docs.
    #[serde(rename = "no")]
    pub id: u64,
    paid: bool,
    events: PendingEvents,
}

impl Order {
    fn place(id: u64) -> Self {
        let mut order = Self { id, ..Self::default() };
        order.raise(OrderCreated { number: id });
        order
    }

    fn pay(&mut self) {
        self.paid = true;
        self.raise_with(OrderPaid {}, |metadata: &mut Metadata| metadata.topic = Some("payments".into()));
    }
}

/// Exhaustive: a new event in the list is a compile error here until it is handled.
fn name(event: &OrderEvent) -> &'static str {
    match event {
        OrderEvent::OrderCreated(_) => "created",
        OrderEvent::OrderPaid(_) => "paid",
    }
}

#[test]
fn pending_lends_what_take_hands_over_in_the_order_of_raising() {
    let mut order = Order::place(7);
    order.pay();
    assert_eq!(order.pending().iter().map(name).collect::<Vec<_>>(), ["created", "paid"]);
    let taken = order.take();
    assert_eq!(taken.iter().map(name).collect::<Vec<_>>(), ["created", "paid"]);
    assert_eq!(format!("{:?}", taken[0]), "OrderCreated { number: 7 }");
    assert!(order.pending().is_empty() && order.take().is_empty());
}

#[test]
fn discard_forgets_what_was_raised() {
    let mut order = Order::place(7);
    order.discard();
    assert!(order.pending().is_empty());
}

/// Dropping pending events tells the line; no other test in this file drops any.
#[test]
fn the_line_that_raised_is_that_of_the_domain_code() {
    let mut lines = Vec::new();
    let forgotten = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut order = Order::default();
        lines.push(line!() + 1);
        order.raise(OrderPaid {});
        bento_core::pending::set_strict(true);
    }));
    bento_core::pending::set_strict(false);
    let message = forgotten.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains(&format!("{}:{}:", file!(), lines[0])), "{message}");
}

#[test]
fn pending_events_are_neither_serialised_nor_cloned() {
    let mut order = Order::place(7);
    assert_eq!(serde_json::to_string(&order).unwrap(), r#"{"no":7,"paid":false}"#);
    assert_eq!(serde_json::from_str::<Order>(r#"{"no":7,"paid":false}"#).unwrap(), order);
    assert!(order.clone().pending().is_empty());
    order.discard();
}

#[test]
fn the_type_and_the_docs_are_known() {
    assert_eq!(Order::TYPE, "order");
    assert_eq!(Order::DESCRIPTOR.docs, "What a customer has asked for.");
}

mod ids {
    use super::*;

    #[aggregate(events(OrderPaid))]
    struct CustomerAccount {
        #[aggregate(id)]
        number: Uuid,
        #[allow(dead_code)]
        id: u8,
        events: PendingEvents,
    }

    #[aggregate(events(OrderPaid), id = (tenant, number), name = "shop.basket", event_enum = InBasket)]
    struct Basket {
        tenant: String,
        number: i64,
        events: PendingEvents,
    }

    #[test]
    fn a_marked_field_is_the_id() {
        let account = CustomerAccount { number: Uuid::nil(), id: 1, events: PendingEvents::default() };
        assert_eq!(account.aggregate_key().into_text(), Some(Uuid::nil().to_string()), "every id is a real one");
        let number = Uuid::from_u128(1);
        let account = CustomerAccount { number, ..account };
        assert_eq!(account.aggregate_key().into_text(), Some(number.to_string()));
        assert_eq!(CustomerAccount::TYPE, "customer_account");
    }

    #[test]
    fn a_composite_id_is_all_its_parts() {
        let key = |tenant: &str, number| {
            let basket = Basket { tenant: tenant.into(), number, events: PendingEvents::default() };
            basket.aggregate_key().into_text().unwrap()
        };
        assert_ne!(key("a", 11), key("a1", 1));
        assert_ne!(key("a", 11), key("b", 11));
    }

    #[test]
    fn the_type_and_the_event_enum_can_be_named() {
        assert_eq!(Basket::TYPE, "shop.basket");
        let mut basket = Basket { tenant: "a".into(), number: 1, events: PendingEvents::default() };
        basket.raise(OrderPaid {});
        let [InBasket::OrderPaid(_)] = basket.take().as_slice() else { panic!("one event") };
    }
}

mod strict {
    //! Nothing generated warns, whatever the struct is.
    #![deny(warnings, missing_docs, unsafe_code)]
    #![allow(unreachable_pub)]

    use bento_core as framework;

    use super::*;

    /// An event of another module, by its path.
    mod happened {
        /// It happened.
        #[bento_core::domain_event(schema = "thing.happened", version = 1)]
        #[derive(Debug)]
        #[deprecated]
        pub struct ThingHappened {}
    }

    /// Nothing is called on it.
    #[aggregate(events(happened::ThingHappened), crate = framework)]
    #[derive(Debug)]
    #[allow(deprecated, dead_code)]
    pub struct Thing {
        id: char,
        /// The field may have any name and path.
        what_happened: framework::pending::PendingEvents,
    }

    #[test]
    fn an_event_of_another_module_can_be_listed_by_its_path() {
        assert_eq!(Thing::DESCRIPTOR.events[0].schema, "thing.happened");
    }
}
