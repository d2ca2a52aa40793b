//! Integration events: made where their domain event is flushed, in order, with stable ids.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used
)]

use std::num::NonZeroU16;

use bento_core::codec::DecodeError;
use bento_core::event::EventKind;
use bento_core::integration::{any_declared, event_id};
use bento_core::outbox::{OutboxEntry, Sharding};
use bento_core::registry::StoredSchema;
use bento_core::unit_of_work::{FlushError, FrameId, UnitOfWork};
use bento_core::{
    DomainEvent, EventId, Metadata, PendingEvents, Registry, UpcastFrom, aggregate, domain_event,
    integration_event, raise, raise_with,
};
use expect_test::expect;

/// A customer has confirmed an order.
#[domain_event(schema = "order.confirmed", version = 1, topic = "internal")]
#[derive(Clone, Debug)]
pub struct OrderConfirmed {
    pub order_id: u64,
    pub margin: i64,
}

/// The contract of old.
#[integration_event(
    from = OrderConfirmed,
    schema = "ecommerce.order.confirmed",
    version = 1,
    deprecated = "use version 2"
)]
#[derive(Clone, Debug, PartialEq)]
pub struct OrderConfirmedV1 {
    pub order_id: u64,
}

impl From<&OrderConfirmed> for OrderConfirmedV1 {
    fn from(event: &OrderConfirmed) -> Self {
        Self {
            order_id: event.order_id,
        }
    }
}

/// An order was confirmed.
#[integration_event(
    from = OrderConfirmed,
    schema = "ecommerce.order.confirmed",
    version = 2,
    upcast_from = OrderConfirmedV1,
    topic = "orders",
    routing_key = "confirmed"
)]
#[derive(Clone, Debug, PartialEq)]
pub struct OrderConfirmedV2 {
    pub order: String,
}

impl From<&OrderConfirmed> for OrderConfirmedV2 {
    fn from(event: &OrderConfirmed) -> Self {
        assert!(event.order_id != 13, "order 13 has no number");
        Self {
            order: format!("order-{}", event.order_id),
        }
    }
}

impl UpcastFrom<OrderConfirmedV1> for OrderConfirmedV2 {
    fn upcast_from(old: OrderConfirmedV1) -> Self {
        Self {
            order: format!("order-{}", old.order_id),
        }
    }
}

/// It stays inside.
#[domain_event(schema = "order.repriced", version = 1)]
#[derive(Clone, Debug)]
pub struct OrderRepriced {}

#[aggregate(events(OrderConfirmed, OrderRepriced))]
pub struct Order {
    id: u64,
    events: PendingEvents,
}

const PUBLIC: &str = "ecommerce.order.confirmed";

fn order(id: u64) -> Order {
    Order {
        id,
        events: PendingEvents::default(),
    }
}

fn confirmed(order_id: u64) -> OrderConfirmed {
    OrderConfirmed {
        order_id,
        margin: 5,
    }
}

/// The entries that are written of the events that `work` raises.
fn flushed(work: impl FnOnce()) -> Vec<OutboxEntry> {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.scope_sync(work);
    entries(&unit_of_work, root).unwrap()
}

fn entries(unit_of_work: &UnitOfWork, root: FrameId) -> Result<Vec<OutboxEntry>, FlushError> {
    let mut flush = unit_of_work.flush(root, &Sharding::default())?;
    let entries = std::mem::take(&mut flush.entries);
    flush.done();
    Ok(entries)
}

fn names(entries: &[OutboxEntry]) -> Vec<(&str, u32)> {
    entries
        .iter()
        .map(|OutboxEntry { envelope, .. }| (&*envelope.event_type, envelope.schema_version))
        .collect()
}

#[test]
fn they_stand_right_behind_their_domain_event() {
    let entries = flushed(|| {
        let mut order = order(7);
        order.raise(OrderRepriced {});
        order.raise(confirmed(7));
        order.raise(OrderRepriced {});
    });
    assert_eq!(
        names(&entries),
        [
            ("order.repriced", 1),
            ("order.confirmed", 1),
            (PUBLIC, 1),
            (PUBLIC, 2),
            ("order.repriced", 1),
        ]
    );
    assert!(entries.iter().all(|entry| entry.shard == entries[0].shard));
    assert!(entries.iter().all(|entry| !entry.may_be_known));
}

#[test]
fn they_take_over_the_facts_and_none_of_the_ways() {
    let metadata = Metadata::default()
        .with_tenant("acme")
        .with_header("region", "eu");
    let entries = flushed(|| {
        metadata.scope_sync(|| {
            order(7).raise_with(confirmed(7), |metadata| {
                metadata
                    .with_routing_key("mine")
                    .with_destinations(["audit"])
                    .with_occurred_at(chrono::DateTime::UNIX_EPOCH)
            });
        });
    });
    let [source, first, second] = &entries[..] else {
        panic!("three events")
    };
    let (source, first, second) = (&source.envelope, &first.envelope, &second.envelope);
    assert_eq!(
        (source.kind, source.topic.as_deref()),
        (EventKind::Domain, Some("internal"))
    );
    for made in [first, second] {
        assert_eq!(made.kind, EventKind::Integration);
        assert_eq!(
            (&*made.aggregate_type, &*made.aggregate_id, &made.tenant_id),
            ("order", "7", &Some("acme".to_owned()))
        );
        assert_eq!(made.headers, source.headers);
        assert_eq!(made.occurred_at, chrono::DateTime::UNIX_EPOCH);
        assert!(made.routing.is_empty());
    }
    assert_eq!((&first.topic, &first.routing_key), (&None, &None));
    assert_eq!(
        (second.topic.as_deref(), second.routing_key.as_deref()),
        (Some("orders"), Some("confirmed"))
    );
    assert_eq!(first.payload, br#"{"order_id":7}"#[..]);
    assert_eq!(second.payload, br#"{"order":"order-7"}"#[..]);
}

#[test]
fn an_event_of_no_aggregate_has_its_integration_events_beside_it() {
    let entries = flushed(|| raise(confirmed(7)).unwrap());
    assert_eq!(
        names(&entries),
        [("order.confirmed", 1), (PUBLIC, 1), (PUBLIC, 2)]
    );
    assert!(entries.iter().all(|entry| entry.shard == entries[0].shard));
}

#[test]
fn a_flush_that_is_repeated_gives_the_same_ids() {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.scope_sync(|| order(7).raise(confirmed(7)));
    let flush = |unit_of_work: &UnitOfWork| {
        let mut flush = unit_of_work.flush(root, &Sharding::default()).unwrap();
        std::mem::take(&mut flush.entries)
    };
    let (first, second) = (flush(&unit_of_work), flush(&unit_of_work));
    let ids = |entries: &[OutboxEntry]| -> Vec<EventId> {
        entries
            .iter()
            .map(|entry| entry.envelope.event_id)
            .collect()
    };
    assert_eq!(ids(&first), ids(&second));
    let source = first[0].envelope.event_id;
    assert_eq!(
        ids(&first)[1..],
        [event_id(source, PUBLIC, 1), event_id(source, PUBLIC, 2)]
    );
    assert!(first.iter().all(|entry| !entry.may_be_known));
    assert!(second.iter().all(|entry| entry.may_be_known));
}

#[test]
fn an_event_that_is_raised_twice_is_mapped_once() {
    let id = EventId::new();
    let entries = flushed(|| {
        for _ in 0..2 {
            raise_with(confirmed(7), |metadata| metadata.with_event_id(id)).unwrap();
        }
    });
    assert_eq!(entries.len(), 3);
    assert!(entries.iter().all(|entry| entry.may_be_known));
}

#[test]
fn a_panic_in_from_names_the_mapping_and_loses_nothing() {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.scope_sync(|| {
        order(1).raise(confirmed(1));
        order(13).raise(confirmed(13));
    });
    let error = entries(&unit_of_work, root).unwrap_err();
    let text = error.to_string();
    let (before, after) = text.split_once(" raised at ").unwrap();
    assert_eq!(
        before,
        "`OrderConfirmedV2` (`ecommerce.order.confirmed` version 2) cannot be made from \
         `order.confirmed`"
    );
    let (_, after) = after.split_once(": its").unwrap();
    assert_eq!(
        after,
        " `From` panicked with \"order 13 has no number\", and nothing was written; let the \
         conversion take every `order.confirmed`"
    );
    assert!(unit_of_work.has_unflushed(), "nothing is lost");
}

/// A `From` that raises events itself.
mod raising {
    use super::*;

    #[domain_event(schema = "echo.heard", version = 1)]
    #[derive(Clone, Debug)]
    pub struct EchoHeard {}

    #[integration_event(from = EchoHeard, schema = "public.echo.heard", version = 1)]
    #[derive(Clone, Debug)]
    pub struct PublicEchoHeard {
        pub is_raised: bool,
    }

    impl From<&EchoHeard> for PublicEchoHeard {
        fn from(event: &EchoHeard) -> Self {
            Self {
                is_raised: raise(event.clone()).is_ok(),
            }
        }
    }
}

#[test]
fn nothing_is_raised_while_an_integration_event_is_made() {
    let entries = flushed(|| raise(raising::EchoHeard {}).unwrap());
    assert_eq!(entries.len(), 2, "and it does not wait for itself");
    assert_eq!(entries[1].envelope.payload, br#"{"is_raised":false}"#[..]);
}

#[test]
fn they_belong_to_the_lane_of_their_tenant() {
    let sharding = Sharding {
        lanes: NonZeroU16::new(4).unwrap(),
        ..Sharding::default()
    };
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.bind_tenant("acme").unwrap();
    unit_of_work.scope_sync(|| order(7).raise(confirmed(7)));
    let mut flush = unit_of_work.flush(root, &sharding).unwrap();
    for entry in std::mem::take(&mut flush.entries) {
        assert_eq!(entry.shard, sharding.shard(&entry.envelope));
    }
    flush.done();
}

#[test]
fn each_version_is_read_as_its_own_struct() {
    let registry = Registry::global();
    registry.validate().unwrap();
    let read = |version, payload: &str| registry.decode(PUBLIC, version, payload.as_bytes());
    let first = read(1, r#"{"order_id":7}"#).unwrap();
    assert_eq!(
        first.downcast_ref(),
        Some(&OrderConfirmedV1 { order_id: 7 })
    );
    let newest = OrderConfirmedV2 {
        order: "order-7".to_owned(),
    };
    let second = read(2, r#"{"order":"order-7"}"#).unwrap();
    assert_eq!(second.downcast_ref(), Some(&newest));
    assert!(matches!(
        read(3, "{}"),
        Err(DecodeError::NewerVersion { newest: 2, .. })
    ));
    // A consumer has one struct, which reads what is sent by any version.
    let upcast: Result<OrderConfirmedV2, _> =
        bento_core::codec::decode(PUBLIC, 1, br#"{"order_id":7}"#);
    assert_eq!(upcast.unwrap(), newest);
}

#[test]
fn stored_ones_can_be_read_in_every_declared_version() {
    let stored = |version| StoredSchema {
        schema: PUBLIC.into(),
        version,
        count: Some(1),
        place: "outbox".into(),
    };
    let report = Registry::global().check_stored([stored(1), stored(2)]);
    assert!(report.is_complete(), "{report}");
}

#[test]
fn the_binary_knows_that_it_has_some() {
    let first = any_declared().unwrap();
    assert_eq!((first.schema, first.version), (PUBLIC, 1));
    assert_eq!(
        OrderConfirmedV1::DESCRIPTOR.deprecated,
        Some("use version 2")
    );
}

#[test]
fn the_catalogue_shows_what_they_are_made_from() {
    let catalogue = Registry::global().catalogue();
    let text = catalogue.to_text();
    let shown = |text: &str| {
        let at = text.find("ecommerce.order.confirmed").unwrap();
        let end = text[at..]
            .find("order.confirmed v1 current")
            .unwrap_or(text.len() - at);
        text[at..at + end].to_owned()
    };
    expect![[r#"
        ecommerce.order.confirmed v2 integration (integration_events::OrderConfirmedV2)
          An order was confirmed.
          made from order.confirmed
          topic orders
          routing key confirmed
          order: String
          v2: upcast from `OrderConfirmedV1`

        ecommerce.order.confirmed v1 integration (integration_events::OrderConfirmedV1)
          The contract of old.
          made from order.confirmed
          deprecated: use version 2
          order_id: u64

    "#]]
    .assert_eq(&shown(&text));
    let json: serde_json::Value = serde_json::from_str(&catalogue.to_json()).unwrap();
    let first = json["events"]
        .as_array()
        .unwrap()
        .iter()
        .find(|event| event["schema"] == PUBLIC && event["version"] == 1)
        .unwrap();
    assert_eq!(first["role"], "integration");
    assert_eq!(first["made_from"], "order.confirmed");
    assert_eq!(first["deprecated"], "use version 2");
    let markdown = catalogue.to_markdown();
    assert!(
        markdown.contains("Made from `order.confirmed`."),
        "{markdown}"
    );
    assert!(
        markdown.contains("Deprecated: use version 2."),
        "{markdown}"
    );
}
