//! The store of events in memory behaves as event stores do, and hands its events to a relay.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "event_store/broken.rs"]
mod broken;

use bento_core::event::EventKind;
use bento_core::{DomainEvent as _, Envelope, integration_event};
use bento_relay::event_store::{Cursor, EventStore as _, EventStoreError, Selection};
use bento_relay::publish::Destination;
use bento_relay::route::{Kinds, RouterConfig, Rule};
use bento_relay::{MemoryEvents, MemoryStore, Relay};
use bento_testkit::RecordingPublisher;
use bento_testkit::event_store::{Credited, EventStoreBench, Never, Opened, Purse};

/// Not stored, and published.
#[integration_event(from = Opened, schema = "shop.purse.opened", version = 1)]
#[derive(Clone, Debug)]
struct Announced {
    owner: String,
}

impl From<&Opened> for Announced {
    fn from(opened: &Opened) -> Self {
        Self {
            owner: opened.owner.clone(),
        }
    }
}

struct Memory(MemoryEvents);

impl EventStoreBench for Memory {
    type Store = MemoryEvents;
    type Staged = Never;

    fn store(&self) -> MemoryEvents {
        self.0.clone()
    }

    async fn restore(&self, events: Vec<Envelope>) -> bool {
        self.0.restore(events);
        true
    }
}

async fn bench() -> Option<Memory> {
    Some(Memory(MemoryEvents::default()))
}

bento_testkit::event_store_conformance!(memory, bench());

/// The events that a relay publishes from an outbox.
async fn published(outbox: &MemoryStore) -> Vec<Envelope> {
    let broker = RecordingPublisher::new();
    let mut rule = Rule::new("partners").to(["partners"]);
    rule.kind = Some(Kinds::Any);
    let rules = RouterConfig::default().destination(Destination::new("partners"));
    let relay = Relay::builder(outbox.clone(), broker.clone());
    let relay = relay.router(rules.rule(rule).build().unwrap());
    relay.run_until_empty().await.unwrap();
    broker.assert_one_at_a_time();
    let attempts = broker.attempts().into_iter();
    attempts
        .map(|delivery| Envelope::clone(&delivery.envelope))
        .collect()
}

/// The stored events of a purse.
async fn stored(events: &MemoryEvents, id: &str) -> Vec<Envelope> {
    let of = Selection::of::<Purse>(id);
    let page = events.page(&of, &Cursor::START, 1_000).await.unwrap();
    page.events
        .into_iter()
        .map(|event| event.envelope)
        .collect()
}

#[tokio::test]
async fn a_relay_publishes_what_was_saved_once_and_in_order() {
    let outbox = MemoryStore::default();
    let events = MemoryEvents::with_outbox(outbox.clone());
    let mut purses: Vec<_> = ["a", "b", "c"].map(Purse::open).into();
    for round in 0..20 {
        let purse = &mut purses[round % 3];
        (0..=round as i64).for_each(|cents| purse.credit(cents));
        events.save(purse).await.unwrap();
    }
    let mut late = Purse::open("a");
    events.save(&mut late).await.unwrap_err();
    late.discard();

    let published = published(&outbox).await;
    for purse in &purses {
        let of_purse = published
            .iter()
            .filter(|event| event.aggregate_id == purse.id);
        let (domain, integration): (Vec<&Envelope>, Vec<&Envelope>) =
            of_purse.partition(|event| event.kind == EventKind::Domain);
        let stored = stored(&events, &purse.id).await;
        assert_eq!(stored.len() as i64, purse.version);
        assert_eq!(
            domain,
            stored.iter().collect::<Vec<_>>(),
            "once and in order"
        );
        let types: Vec<_> = integration.iter().map(|event| &*event.event_type).collect();
        assert_eq!(types, [Announced::SCHEMA]);
    }
    assert_eq!(published.len(), 210 + 3 + 3);
}

#[tokio::test]
async fn restored_events_are_not_published() {
    let (outbox, before) = (MemoryStore::default(), MemoryEvents::default());
    before.save(&mut Purse::open("a")).await.unwrap();
    let events = MemoryEvents::with_outbox(outbox.clone());
    events.restore(stored(&before, "a").await);
    let mut purse = events.load::<Purse>("a").await.unwrap().unwrap();
    purse.credit(1);
    events.save(&mut purse).await.unwrap();
    let published = published(&outbox).await;
    let types: Vec<_> = published.iter().map(|event| &*event.event_type).collect();
    assert_eq!(types, [Credited::SCHEMA]);
}

#[tokio::test]
async fn a_cursor_of_another_store_is_refused() {
    let (one, other) = (MemoryEvents::default(), MemoryEvents::default());
    for events in [&one, &other] {
        events.save(&mut Purse::open("a")).await.unwrap();
    }
    let page = one.page(&Selection::All, &Cursor::START, 1).await.unwrap();
    for cursor in [page.next, Cursor::new(1, None), Cursor::new(-1, None)] {
        let refused = other.page(&Selection::All, &cursor, 1).await.unwrap_err();
        assert!(
            matches!(refused, EventStoreError::Cursor { .. }),
            "{refused}"
        );
    }
}
