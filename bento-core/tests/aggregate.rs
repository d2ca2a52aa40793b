//! The methods, the enum and the descriptor that `#[aggregate]` gives a struct.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used
)]

use bento_core::{Aggregate, PendingEvents, aggregate, domain_event};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[domain_event(schema = "order.created", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct OrderCreated {
    pub number: u64,
}

#[domain_event(schema = "order.paid", version = 1)]
#[derive(Debug, PartialEq)]
pub struct OrderPaid {}

/// The goods that a customer has asked for.
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
        let mut order = Self {
            id,
            ..Self::default()
        };
        order.raise(OrderCreated { number: id });
        order
    }

    fn pay(&mut self) {
        self.paid = true;
        self.raise_with(OrderPaid {}, |metadata| metadata.with_topic("payments"));
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
    assert_eq!(
        order.pending().iter().map(name).collect::<Vec<_>>(),
        ["created", "paid"]
    );
    let taken = order.take();
    assert_eq!(
        taken.iter().map(name).collect::<Vec<_>>(),
        ["created", "paid"]
    );
    assert_eq!(format!("{:?}", taken[0]), "OrderCreated { number: 7 }");
    assert!(order.pending().is_empty() && order.take().is_empty());
}

#[test]
fn events_that_can_be_compared_are_compared_in_their_enum() {
    let mut order = Order::place(7);
    order.pay();
    assert_eq!(
        order.pending(),
        [OrderCreated { number: 7 }.into(), OrderPaid {}.into()]
    );
    assert_ne!(
        order.take(),
        [OrderCreated { number: 8 }.into(), OrderPaid {}.into()]
    );
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
    assert!(
        message.contains(&format!("{}:{}:", file!(), lines[0])),
        "{message}"
    );
}

#[test]
fn pending_events_are_neither_serialised_nor_cloned() {
    let mut order = Order::place(7);
    assert_eq!(
        serde_json::to_string(&order).unwrap(),
        r#"{"no":7,"paid":false}"#
    );
    assert_eq!(
        serde_json::from_str::<Order>(r#"{"no":7,"paid":false}"#).unwrap(),
        order
    );
    assert!(order.clone().pending().is_empty());
    order.discard();
}

#[test]
fn the_type_and_the_docs_are_known() {
    assert_eq!(Order::TYPE, "order");
    assert_eq!(
        Order::DESCRIPTOR.docs,
        "The goods that a customer has asked for."
    );
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

    #[aggregate(
        events(OrderPaid),
        id = (tenant, number),
        name = "shop_basket",
        event_enum = InBasket
    )]
    struct Basket {
        tenant: String,
        number: i64,
        events: PendingEvents,
    }

    /// Everything that may point to a text, or be a number that is never 0.
    fn text_of(part: &impl bento_core::AggregateId) -> String {
        bento_core::AggregateKey::new()
            .push(part)
            .into_text()
            .unwrap()
    }

    #[test]
    fn texts_and_numbers_identify_in_whatever_they_are_kept() {
        let texts = [
            text_of(&"a:b"),
            text_of(&String::from("a:b")),
            text_of(&std::sync::Arc::<str>::from("a:b")),
            text_of(&std::rc::Rc::<str>::from("a:b")),
            text_of(&Box::<str>::from("a:b")),
            text_of(&std::borrow::Cow::Borrowed("a:b")),
            text_of(&std::borrow::Cow::<str>::Owned("a:b".into())),
        ];
        assert!(texts.iter().all(|text| text == "a:b"), "{texts:?}");
        assert_eq!(text_of(&std::num::NonZeroU128::MAX), u128::MAX.to_string());
        assert_eq!(text_of(&std::num::NonZeroI8::MIN), "-128");
        assert_eq!(text_of(&std::sync::Arc::new(7_u64)), "7");
    }

    #[derive(bento_core::AggregateId)]
    struct Typed<T>(Uuid, std::marker::PhantomData<T>);

    #[derive(bento_core::AggregateId)]
    struct Wrapped<T> {
        inner: T,
    }

    #[derive(bento_core::AggregateId)]
    enum Country {
        Denmark,
        #[aggregate_id(rename = "SE")]
        Sweden,
    }

    #[aggregate(events(OrderPaid), id = (country, number))]
    struct Office {
        country: Country,
        number: Wrapped<Wrapped<u32>>,
        events: PendingEvents,
    }

    #[test]
    fn a_derived_id_is_all_its_fields_or_the_name_of_its_variant() {
        assert_eq!(
            text_of(&Typed::<Order>(Uuid::max(), std::marker::PhantomData)),
            Uuid::max().to_string()
        );
        for (country, text) in [(Country::Denmark, "Denmark:7"), (Country::Sweden, "SE:7")] {
            let number = Wrapped {
                inner: Wrapped { inner: 7 },
            };
            let office = Office {
                country,
                number,
                events: PendingEvents::default(),
            };
            assert_eq!(office.aggregate_key().into_text().as_deref(), Some(text));
        }
    }

    #[test]
    fn a_derived_id_is_unset_as_what_it_wraps_is() {
        let key =
            |number| bento_core::AggregateKey::new().push_generated(&Wrapped { inner: number });
        assert_eq!(
            (key(0).into_text(), key(1).into_text()),
            (None, Some("1".to_owned()))
        );
    }

    #[test]
    fn a_marked_field_is_the_id() {
        let account = CustomerAccount {
            number: Uuid::nil(),
            id: 1,
            events: PendingEvents::default(),
        };
        assert_eq!(
            account.aggregate_key().into_text(),
            Some(Uuid::nil().to_string()),
            "every id is a real one"
        );
        let number = Uuid::from_u128(1);
        let account = CustomerAccount { number, ..account };
        assert_eq!(
            account.aggregate_key().into_text(),
            Some(number.to_string())
        );
        assert_eq!(CustomerAccount::TYPE, "customer_account");
    }

    #[test]
    fn a_composite_id_is_all_its_parts() {
        let key = |tenant: &str, number| {
            let basket = Basket {
                tenant: tenant.into(),
                number,
                events: PendingEvents::default(),
            };
            basket.aggregate_key().into_text().unwrap()
        };
        assert_ne!(key("a", 11), key("a1", 1));
        assert_ne!(key("a", 11), key("b", 11));
    }

    #[test]
    fn the_type_and_the_event_enum_can_be_named() {
        assert_eq!(Basket::TYPE, "shop_basket");
        let mut basket = Basket {
            tenant: "a".into(),
            number: 1,
            events: PendingEvents::default(),
        };
        basket.raise(OrderPaid {});
        let [InBasket::OrderPaid(_)] = basket.take().as_slice() else {
            panic!("one event")
        };
    }
}

mod forms {
    use super::*;

    type Raised = PendingEvents;

    #[aggregate(events(
        OrderCreated,
        #[cfg(all())]
        OrderPaid,
        #[cfg(any())]
        OrderLost,
        #[cfg(any())]
        other::OrderPaid
    ))]
    #[derive(Default)]
    struct Parcel {
        id: u64,
        #[aggregate(events)]
        raised: Raised,
    }

    #[test]
    fn the_pending_events_may_have_an_alias_and_events_a_condition() {
        let mut parcel = Parcel {
            id: 1,
            ..Parcel::default()
        };
        parcel.raise(OrderPaid {});
        assert_eq!(parcel.pending(), [OrderPaid {}.into()]);
        assert!(matches!(&parcel.take()[..], [ParcelEvent::OrderPaid(_)]));
        assert_eq!(Parcel::DESCRIPTOR.events.len(), 2);
    }

    macro_rules! declare {
        ($name:ident, $pending:ty, $($event:path),*) => {
            #[aggregate(events($($event),*))]
            struct $name {
                id: u64,
                events: $pending,
            }
        };
    }
    declare!(Declared, bento_core::PendingEvents, OrderPaid);

    #[test]
    fn an_aggregate_may_be_declared_by_a_macro() {
        let mut declared = Declared {
            id: 1,
            events: PendingEvents::default(),
        };
        declared.raise(OrderPaid {});
        assert_eq!(declared.take(), [OrderPaid {}.into()]);
    }
}

mod shadowing {
    use super::*;

    #[aggregate(name = "shadow", events(OrderPaid))]
    struct Order {
        id: u64,
        events: PendingEvents,
    }

    #[test]
    fn the_enum_of_events_may_have_the_name_of_a_glob_import() {
        let mut order = Order {
            id: 1,
            events: PendingEvents::default(),
        };
        order.raise(OrderPaid {});
        assert!(matches!(&order.take()[..], [OrderEvent::OrderPaid(_)]));
    }
}

#[allow(non_upper_case_globals, dead_code)]
mod names_in_use {
    use super::*;

    pub const event: u8 = 1;
    pub static other: u8 = 1;
    pub const left: u8 = 1;
    pub const right: u8 = 1;
    pub static f: u8 = 1;
    pub const adjust: u8 = 1;
    pub static key: u8 = 1;
    pub static version: u8 = 1;
    pub const id: u8 = 1;

    #[derive(bento_core::AggregateId)]
    struct Number(u64);

    #[domain_event(schema = "names.taken", version = 1)]
    #[derive(Debug, PartialEq)]
    struct Taken {}

    #[domain_event(schema = "names.lost", version = 1, superseded)]
    #[derive(Debug)]
    struct A {}

    #[aggregate(events(Taken))]
    struct E {
        id: Number,
        #[aggregate(version)]
        version: i64,
        events: PendingEvents,
    }

    #[test]
    fn an_aggregate_compiles_beside_constants_of_any_name() {
        let mut aggregate = E {
            id: Number(7),
            version: 0,
            events: PendingEvents::default(),
        };
        aggregate.raise_with(Taken {}, |metadata| metadata);
        assert_eq!(aggregate.aggregate_key().into_text().as_deref(), Some("7"));
        assert_eq!(aggregate.take(), [Taken {}.into()]);
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
