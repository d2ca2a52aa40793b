//! The answers of the registry of a sound binary.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used
)]

use bento_core::codec::DecodeError;
use bento_core::event::EventRole;
use bento_core::registry::{LintName, StoredError, StoredSchema};
use bento_core::{DomainEvent, PendingEvents, Registry, UpcastFrom, aggregate, domain_event};

#[domain_event(schema = "order.created", version = 1, superseded)]
#[derive(Debug)]
pub struct OrderCreatedV1 {
    pub number: u32,
}

#[domain_event(schema = "order.created", version = 2, upcast_from = OrderCreatedV1)]
#[derive(Debug, PartialEq)]
pub struct OrderCreated {
    pub number: String,
}

impl UpcastFrom<OrderCreatedV1> for OrderCreated {
    fn upcast_from(old: OrderCreatedV1) -> Self {
        Self {
            number: old.number.to_string(),
        }
    }
}

#[domain_event(schema = "order.paid", version = 4, oldest = 4)]
#[derive(Debug)]
pub struct OrderPaid {}

#[aggregate(events(OrderCreated, OrderPaid))]
pub struct Order {
    id: u64,
    events: PendingEvents,
}

/// An event that is not raised any more.
#[domain_event(schema = "order.faxed", version = 1, superseded)]
#[derive(Debug)]
pub struct OrderFaxed {}

/// The view that one context has of an event of its own binary.
mod billing {
    use super::*;

    #[domain_event(schema = "order.created", version = 2, oldest = 2, consumes)]
    #[derive(Debug)]
    pub struct OrderCreated {}

    #[domain_event(
        schema = "parcel.delivered",
        version = 2,
        oldest = 1,
        consumes,
        removed("weight", since = 2)
    )]
    #[derive(Debug)]
    pub struct ParcelDelivered {}

    /// An earlier version of a view, to be upcast from by hand.
    #[domain_event(schema = "parcel.returned", version = 1, superseded, consumes)]
    #[derive(Debug)]
    pub struct ParcelReturnedV1 {
        pub reason: String,
    }

    #[domain_event(
        schema = "parcel.returned",
        version = 2,
        consumes,
        upcast_from = ParcelReturnedV1,
    )]
    #[derive(Debug)]
    pub struct ParcelReturned {
        pub reasons: Vec<String>,
    }

    impl UpcastFrom<ParcelReturnedV1> for ParcelReturned {
        fn upcast_from(old: ParcelReturnedV1) -> Self {
            Self {
                reasons: vec![old.reason],
            }
        }
    }
}

mod names {
    use super::*;

    macro_rules! named {
        ($($name:ident: $schema:literal $(, $allow:ident)?;)*) => {
            $(#[domain_event(schema = $schema, version = 1 $(, allow($allow))?)]
            #[derive(Debug)]
            pub struct $name {})*
        };
    }

    named! {
        Imperative: "invoice.create";
        BareNoun: "invoice.payment";
        RowChange: "invoice.address_updated";
        Allowed: "invoice.import", bare_noun;
        Past: "invoice.left_the_house";
        Irregular: "invoice.paid";
        NotPast: "invoice.seed";
    }
}

#[test]
fn a_sound_binary_validates() {
    Registry::global().validate().unwrap();
}

#[test]
fn a_schema_is_read_as_its_current_version_and_downcast() {
    let event = Registry::global()
        .decode("order.created", 1, br#"{"number":7}"#)
        .unwrap();
    assert_eq!(event.descriptor().rust_name, "OrderCreated");
    assert_eq!(event.downcast_ref::<OrderCreated>().unwrap().number, "7");
    let event = event.downcast_arc::<OrderPaid>().unwrap_err();
    assert_eq!(
        *event.downcast_arc::<OrderCreated>().unwrap(),
        OrderCreated { number: "7".into() }
    );
}

#[test]
fn without_a_current_version_a_superseded_one_or_a_view_is_read() {
    assert!(
        Registry::global()
            .decode("order.faxed", 1, b"{}")
            .unwrap()
            .is::<OrderFaxed>()
    );
    let parcel = Registry::global()
        .decode("parcel.delivered", 1, br#"{"weight":1}"#)
        .unwrap();
    assert!(parcel.is::<billing::ParcelDelivered>());
}

#[test]
fn a_view_may_have_earlier_versions_of_its_own() {
    let read = Registry::global()
        .decode("parcel.returned", 1, br#"{"reason":"broken"}"#)
        .unwrap();
    assert_eq!(
        read.downcast_ref::<billing::ParcelReturned>()
            .unwrap()
            .reasons,
        ["broken"]
    );
    assert_eq!(
        billing::ParcelReturnedV1::DESCRIPTOR.role,
        EventRole::Consumes
    );
}

#[test]
fn four_answers_are_never_mixed() {
    let decode = |schema: &str, version, payload: &str| {
        Registry::global()
            .decode(schema, version, payload.as_bytes())
            .unwrap_err()
    };
    assert!(matches!(
        decode("order.unheard", 1, "{}"),
        DecodeError::UnknownEventType { .. }
    ));
    assert!(matches!(
        decode("order.created", 3, "{}"),
        DecodeError::NewerVersion { .. }
    ));
    assert!(matches!(
        decode("order.paid", 3, "{}"),
        DecodeError::Retired { .. }
    ));
    assert!(matches!(
        decode("order.created", 2, "{}"),
        DecodeError::Malformed { .. }
    ));
    assert!(matches!(
        decode("order.created", 1, "{}"),
        DecodeError::Malformed { version: 1, .. }
    ));
}

#[test]
fn an_event_can_be_required_which_links_its_crate() {
    let registry = Registry::global()
        .require::<OrderCreated>()
        .and_then(|registry| registry.require::<OrderPaid>());
    assert_eq!(
        registry.unwrap().event("order.paid").unwrap().version,
        OrderPaid::VERSION
    );
}

#[test]
fn an_event_that_is_named_but_not_registered_is_told() {
    let empty = Registry::of([], []);
    let error = empty.require::<OrderPaid>().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`order.paid` version 4 is named but not registered"),
        "{error}"
    );
}

#[test]
fn what_is_stored_is_compared_with_what_can_be_decoded() {
    let stored = |schema: &str, version| StoredSchema {
        schema: schema.into(),
        version,
        count: Some(3),
        place: "outbox".into(),
    };
    let registry = Registry::global();
    let readable = [
        stored("order.created", 1),
        stored("order.created", 2),
        stored("order.paid", 4),
    ];
    let report = registry.check_stored(readable);
    assert!(report.is_complete() && report.is_ok());
    report.into_strict_result().unwrap();
    let report = registry.check_stored([
        stored("a.b", 1),
        stored("order.created", 3),
        stored("order.paid", 3),
        stored("order.paid", 4),
    ]);
    assert!(!report.is_complete() && !report.is_ok());
    let [unknown, newer, retired] = report.findings() else {
        panic!("three findings: {report}")
    };
    assert!(matches!(unknown, StoredError::UnknownEventType(stored) if stored.schema == "a.b"));
    assert!(matches!(newer, StoredError::NewerVersion { newest: 2, .. }));
    assert!(matches!(retired, StoredError::Retired { oldest: 4, .. }));
    assert_eq!(
        report.clone().into_strict_result().unwrap_err().errors(),
        report.findings()
    );
    let retired = report.into_result().unwrap_err();
    assert!(matches!(retired.errors(), [StoredError::Retired { .. }]));
    assert!(
        retired
            .to_string()
            .contains("3 × `order.paid` version 3 in outbox"),
        "{retired}"
    );
}

/// Events that a later release has written, or that it alone declares, do not keep a program from
/// starting.
#[test]
fn a_release_that_was_rolled_back_still_starts() {
    let stored = |schema: &str, version| StoredSchema {
        schema: schema.into(),
        version,
        count: Some(1),
        place: "dead letters".into(),
    };
    let report = Registry::global()
        .check_stored([stored("order.created", 9), stored("order.of_tomorrow", 1)]);
    assert_eq!(report.of_another_release().count(), 2);
    assert!(report.is_ok());
    report.into_result().unwrap();
}

#[test]
fn a_schema_not_in_the_past_tense_is_advised_against() {
    let lints: Vec<_> = Registry::global()
        .lints()
        .iter()
        .map(|lint| (lint.schema, lint.name))
        .collect();
    assert_eq!(
        lints,
        [
            ("invoice.address_updated", LintName::RowChange),
            ("invoice.create", LintName::Imperative),
            ("invoice.payment", LintName::BareNoun),
            ("invoice.seed", LintName::BareNoun),
        ]
    );
    let text = Registry::global().lints()[1].to_string();
    assert!(
        text.starts_with("`invoice.create` is a command: say what has happened"),
        "{text}"
    );
    assert!(
        text.contains("`allow(imperative)` on the event silences this"),
        "{text}"
    );
}

#[test]
fn an_aggregate_names_its_events() {
    let order = Registry::global().aggregates().next().unwrap();
    assert_eq!((order.aggregate_type, order.rust_name), ("order", "Order"));
    assert_eq!(
        order
            .events
            .iter()
            .map(|event| event.schema)
            .collect::<Vec<_>>(),
        ["order.created", "order.paid"]
    );
    let order = Order {
        id: 1,
        events: PendingEvents::default(),
    };
    assert!(order.pending().is_empty() && order.id == 1);
}
