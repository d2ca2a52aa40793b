//! The faults of integration events that the compiler cannot see.

#![allow(missing_docs, missing_debug_implementations, unreachable_pub)]

use bento_core::registry::{EventRegistration, Registry, RegistryFault};
use bento_core::{domain_event, integration_event};
use expect_test::expect;

#[domain_event(schema = "order.confirmed", version = 2, oldest = 2)]
#[derive(Debug)]
pub struct OrderConfirmed {}

mod of_a_domain_event {
    use super::*;

    #[integration_event(from = OrderConfirmed, schema = "order.confirmed", version = 1)]
    #[derive(Debug)]
    pub struct OrderConfirmedV1 {}

    impl From<&OrderConfirmed> for OrderConfirmedV1 {
        fn from(_: &OrderConfirmed) -> Self {
            Self {}
        }
    }
}

mod twice {
    use super::*;

    #[integration_event(from = OrderConfirmed, schema = "shop.order.confirmed", version = 1)]
    #[derive(Debug)]
    pub struct One {}

    impl From<&OrderConfirmed> for One {
        fn from(_: &OrderConfirmed) -> Self {
            Self {}
        }
    }

    #[integration_event(from = OrderConfirmed, schema = "shop.order.confirmed", version = 1)]
    #[derive(Debug)]
    pub struct Other {}

    impl From<&OrderConfirmed> for Other {
        fn from(_: &OrderConfirmed) -> Self {
            Self {}
        }
    }
}

/// The text of the faults, without the places.
fn faults(events: impl IntoIterator<Item = EventRegistration>) -> String {
    let registry = Registry::of(events, []);
    let errors = registry.validate().err();
    let faults = errors.iter().flat_map(|errors| errors.faults());
    faults
        .map(|fault| format!("{}\n", fault.to_string().lines().next().unwrap_or_default()))
        .collect()
}

#[test]
fn the_schema_of_a_domain_event_is_refused() {
    expect![[r#"
        the integration event `order.confirmed` version 1 has the schema of a domain event: give it one of its own, as in `shop.order.confirmed`
    "#]].assert_eq(&faults([
        EventRegistration::of::<OrderConfirmed>(),
        EventRegistration::of::<of_a_domain_event::OrderConfirmedV1>(),
    ]));
}

#[test]
fn one_schema_and_version_is_declared_once() {
    expect![[r#"
        `shop.order.confirmed` version 1 is declared twice: rename one, raise its version, or mark a view of a foreign event `consumes`
    "#]].assert_eq(&faults([
        EventRegistration::of::<OrderConfirmed>(),
        EventRegistration::of::<twice::One>(),
        EventRegistration::of::<twice::Other>(),
    ]));
}

#[test]
fn a_source_that_is_not_registered_is_named() {
    let registry = Registry::of([EventRegistration::of::<twice::One>()], []);
    let errors = registry.validate().expect_err("the source is missing");
    let [RegistryFault::NotRegistered { event }] = errors.faults() else {
        panic!("{errors}")
    };
    assert_eq!(event.schema, "order.confirmed");
}
