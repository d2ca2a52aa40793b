//! The common parts of the rules: saving, loading and reading.

use std::collections::{BTreeMap, BTreeSet};

use bento_core::event_sourced::storage;
use bento_core::report::with_causes;
use bento_core::{Aggregate, DomainEvent, Envelope, EventId, EventSourced};
use bento_relay::event_store::{Cursor, EventStore, EventStoreError, Page, Selection, StoredEvent};

use super::{Counted, Credited, Gauge, Opened, Purse};

/// A number of events that no page of the suite has.
pub(super) const MANY: usize = 10_000;

/// The result, or a panic with the error and its causes.
#[track_caller]
pub(super) fn expect<T>(result: Result<T, EventStoreError>) -> T {
    result.unwrap_or_else(|error| panic!("refused: {}", with_causes(&error)))
}

/// Saves an aggregate.
pub(super) async fn save<A>(store: &impl EventStore, aggregate: &mut A)
where
    A: EventSourced<Storage = storage::Events>,
{
    expect(store.save(aggregate).await);
}

/// The error of a save that is refused. The events stay with the aggregate.
pub(super) async fn refused<A>(store: &impl EventStore, aggregate: &mut A) -> EventStoreError
where
    A: EventSourced<Storage = storage::Events>,
{
    let (version, pending) = (aggregate.version(), aggregate.pending_events().len());
    let error = store.save(aggregate).await.expect_err("it is refused");
    assert_eq!(aggregate.version(), version, "the version is as it was");
    assert_eq!(
        aggregate.pending_events().len(),
        pending,
        "the events are back"
    );
    error
}

/// The purse of an id, which is stored.
pub(super) async fn loaded(store: &impl EventStore, id: &str) -> Purse {
    let purse = expect(store.load::<Purse>(id).await);
    purse.unwrap_or_else(|| panic!("purse `{id}` is stored"))
}

/// Asserts that a save was a conflict of these numbers.
#[track_caller]
pub(super) fn assert_conflict(error: &EventStoreError, key: &str, versions: (i64, i64)) {
    let EventStoreError::Conflict {
        aggregate_type,
        id,
        expected,
        actual,
        ..
    } = error
    else {
        panic!("not a conflict: {}", with_causes(error))
    };
    assert_eq!((*aggregate_type, id.as_str()), (Purse::TYPE, key));
    assert_eq!((*expected, *actual), (versions.0, Some(versions.1)));
    let text = error.to_string();
    assert!(text.contains("load it again"), "the way out: {text}");
}

/// The page behind a place.
pub(super) async fn page(
    store: &impl EventStore,
    of: &Selection,
    after: &Cursor,
    limit: usize,
) -> Page {
    let page = expect(store.page(of, after, limit).await);
    assert!(page.events.len() <= limit, "no more than asked for");
    page
}

/// All events behind a place in pages of a size, and the place behind them.
pub(super) async fn behind(
    store: &impl EventStore,
    of: &Selection,
    after: &Cursor,
    limit: usize,
) -> (Vec<StoredEvent>, Cursor) {
    let (mut events, mut place) = (Vec::new(), after.clone());
    loop {
        let page = page(store, of, &place, limit).await;
        assert!(page.is_last || page.next != place, "each page goes further");
        events.extend(page.events);
        place = page.next;
        if page.is_last {
            return (events, place);
        }
    }
}

/// All events of a selection.
pub(super) async fn all(store: &impl EventStore, of: &Selection) -> Vec<StoredEvent> {
    behind(store, of, &Cursor::START, MANY).await.0
}

/// The ids of events, for a comparison without order.
pub(super) fn ids(events: &[StoredEvent]) -> BTreeSet<EventId> {
    events.iter().map(|event| event.envelope.event_id).collect()
}

/// Asserts that these are the same events, each of them once and those of an aggregate in order.
#[track_caller]
pub(super) fn assert_same(read: &[StoredEvent], stored: &[StoredEvent]) {
    assert_eq!(read.len(), stored.len(), "each event once");
    assert_eq!(ids(read), ids(stored));
    assert_in_order(read);
}

/// Asserts that the numbers of each aggregate rise.
#[track_caller]
pub(super) fn assert_in_order(events: &[StoredEvent]) {
    for (aggregate, numbers) in numbers(events) {
        assert!(
            numbers.is_sorted_by(|one, next| one < next),
            "the events of {aggregate:?} come as {numbers:?}"
        );
    }
}

/// The numbers of the events of each aggregate, as they come.
pub(super) fn numbers(events: &[StoredEvent]) -> BTreeMap<(String, String), Vec<i64>> {
    let mut numbers: BTreeMap<_, Vec<i64>> = BTreeMap::new();
    for StoredEvent { envelope, .. } in events {
        let aggregate = (
            envelope.aggregate_type.to_string(),
            envelope.aggregate_id.clone(),
        );
        let sequence = envelope.sequence.expect("a stored event has a number");
        numbers.entry(aggregate).or_default().push(sequence);
    }
    numbers
}

/// Some hundred events of several aggregates, saved in turns and in batches of several sizes.
pub(super) async fn history(store: &impl EventStore) {
    let mut purses: Vec<Purse> = (0..7).map(|id| Purse::open(format!("p{id}"))).collect();
    for round in 0..70 {
        let purse = &mut purses[round * 3 % 7];
        for cents in 0..=(round % 5) as i64 {
            purse.credit(cents);
        }
        save(store, purse).await;
        if round % 7 == 0 {
            let mut gauge = Gauge::new("hall", round as u32);
            gauge.count_up();
            gauge.count_up();
            save(store, &mut gauge).await;
        }
    }
}

/// One selection of each kind, and a purse and an event type that have no events.
pub(super) fn selections() -> Vec<Selection> {
    vec![
        Selection::of::<Purse>("p3"),
        Selection::of::<Gauge>(("hall".to_owned(), 14)),
        Selection::of::<Purse>("unknown"),
        Selection::EventType(Opened::SCHEMA.to_owned()),
        Selection::EventType(Credited::SCHEMA.to_owned()),
        Selection::EventType(Counted::SCHEMA.to_owned()),
        Selection::EventType("bento_testkit.nothing.happened".to_owned()),
        Selection::All,
    ]
}

/// The events of the history that a selection holds.
pub(super) fn is_of(selection: &Selection, event: &Envelope) -> bool {
    match selection {
        Selection::Aggregate {
            aggregate_type,
            aggregate_id,
        } => event.aggregate_type == *aggregate_type && event.aggregate_id == *aggregate_id,
        Selection::EventType(event_type) => event.event_type == *event_type,
        Selection::All => true,
    }
}
