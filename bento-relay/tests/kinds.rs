//! A program that declares integration events, and relays whose rules do not say which kind they
//! take.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test"
)]

use std::sync::Arc;

use bento_core::event::EventKind;
use bento_core::outbox::Sharding;
use bento_core::unit_of_work::UnitOfWork;
use bento_core::{domain_event, integration_event, raise};
use bento_relay::publish::{Destination, MemoryPublisher, Publishers};
use bento_relay::route::{Kinds, Router, RouterConfig, Rule};
use bento_relay::{MemoryStore, Relay, RelayError, StartError};
use expect_test::{Expect, expect};

#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Clone, Debug)]
pub struct OrderConfirmed {
    pub order_id: u64,
    pub margin: i64,
}

#[integration_event(from = OrderConfirmed, schema = "shop.order.confirmed", version = 1)]
#[derive(Clone, Debug)]
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

/// The events that a broker gets by these rules, after one order was confirmed.
async fn published(router: Router) -> Vec<String> {
    let (store, broker) = (MemoryStore::default(), MemoryPublisher::new());
    let (unit_of_work, frame) = UnitOfWork::open();
    let confirmed = OrderConfirmed {
        order_id: 7,
        margin: 5,
    };
    unit_of_work.scope_sync(|| raise(confirmed)).unwrap();
    let mut flush = unit_of_work.flush(frame, &Sharding::default()).unwrap();
    store.append(std::mem::take(&mut flush.entries));
    flush.done();
    let report = Relay::builder(store, broker.clone())
        .router(router)
        .run_until_empty()
        .await
        .unwrap();
    assert_eq!(report.tally.dead, 0);
    let published = broker.published();
    published
        .iter()
        .map(|delivery| delivery.envelope.event_type.to_string())
        .collect()
}

fn partners(kinds: Option<Kinds>) -> RouterConfig {
    let mut rule = Rule::new("partners").to(["partners"]);
    rule.kind = kinds;
    RouterConfig::default()
        .destination(Destination::new("partners"))
        .rule(rule)
}

#[tokio::test]
async fn each_kind_goes_where_a_rule_sends_it() {
    let of = async |kinds: Kinds| published(partners(Some(kinds)).build().unwrap()).await;
    assert_eq!(
        of(EventKind::Integration.into()).await,
        ["shop.order.confirmed"]
    );
    let mut both = of(Kinds::Any).await;
    both.sort();
    assert_eq!(both, ["order.confirmed", "shop.order.confirmed"]);
}

#[track_caller]
fn refused(router: Router, expected: Expect) {
    let relay = Relay::builder(MemoryStore::default(), MemoryPublisher::new()).router(router);
    let error = relay.start().map(drop).unwrap_err();
    assert!(matches!(error, StartError::Kind(_)));
    expected.assert_eq(&error.to_string());
}

#[tokio::test]
async fn a_rule_without_a_kind_is_refused_at_the_start() {
    refused(
        partners(None).build().unwrap(),
        expect![[
            r#"rule `partners` does not say which kind of events it takes, and this program has integration events (`shop.order.confirmed`): they and the domain events they are made from would all go to `partners`; add `kind = "integration"`, `"domain"` or `"any"` to the rule, in code `.kind(…)`"#
        ]],
    );
    refused(
        Router::by_event_type([("order.*", "orders")]).unwrap(),
        expect![[
            r#"rule `by event_type 1` does not say which kind of events it takes, and this program has integration events (`shop.order.confirmed`): they and the domain events they are made from would all go to `orders`; add `kind = "integration"`, `"domain"` or `"any"` to the rule, in code `.kind(…)`"#
        ]],
    );
}

#[tokio::test]
async fn a_router_without_rules_is_refused_at_the_start() {
    refused(
        Router::default(),
        expect![[
            r#"the router sends every event to `default`, and this program has integration events (`shop.order.confirmed`): they and the domain events they are made from would all go there; write a rule with `kind = "integration"`, `"domain"` or `"any"`, in code `Rule::new(…).kind(…)`"#
        ]],
    );
    let rest = RouterConfig::default()
        .destination(Destination::new("rest"))
        .fallback("rest");
    refused(
        rest.build().unwrap(),
        expect![[
            r#"the router sends every event to `rest`, and this program has integration events (`shop.order.confirmed`): they and the domain events they are made from would all go there; write a rule with `kind = "integration"`, `"domain"` or `"any"`, in code `Rule::new(…).kind(…)`"#
        ]],
    );
}

#[tokio::test]
async fn a_single_pass_is_refused_as_well() {
    let router = partners(None).build().unwrap();
    let relay = Relay::builder(MemoryStore::default(), MemoryPublisher::new()).router(router);
    let error = relay.run_once().await.unwrap_err();
    let RelayError::Kind(missing) = error else {
        panic!("{error}")
    };
    assert_eq!(missing.rule, Some(Arc::from("partners")));
    assert_eq!(missing.destinations, [Arc::from("partners")]);
    assert_eq!(missing.integration_event, "shop.order.confirmed");
}

/// Handlers take events by their types.
#[tokio::test]
async fn a_relay_without_a_broker_needs_no_rule() {
    let relay = Relay::builder(MemoryStore::default(), Publishers::new());
    let started = relay
        .router(RouterConfig::default().build().unwrap())
        .start();
    started.unwrap().stop().await.unwrap();
}
