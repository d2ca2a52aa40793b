//! Counts for operators.

use std::collections::BTreeMap;

use bento_core::Aggregate;
use bento_relay::event_store::Selection;
use bento_relay::inspect::{InspectEvents, StoredAggregates};

use super::bench::{all, expect, history, loaded, numbers, refused, save};
use super::{EventStoreBench, Gauge, Purse};

/// An empty store has no counts and no last event.
pub async fn an_empty_store_has_no_counts<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    assert_eq!(expect(store.stored_aggregates().await), []);
    assert_eq!(expect(store.last_position().await), None);
}

/// Aggregates and events are counted by the type of the aggregate, and those alone that are stored.
pub async fn aggregates_and_events_are_counted_by_type<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    history(&store).await;
    let mut late = Purse::open("p3");
    refused(&store, &mut late).await;
    late.discard();
    let mut counted: BTreeMap<String, StoredAggregates> = BTreeMap::new();
    for ((aggregate_type, _), numbers) in numbers(&all(&store, &Selection::All).await) {
        let counts = counted.entry(aggregate_type.clone()).or_default();
        counts.aggregate_type = aggregate_type;
        counts.aggregates += 1;
        counts.events += numbers.len() as u64;
    }
    let types: Vec<_> = counted.keys().map(String::as_str).collect();
    assert_eq!(types, [Gauge::TYPE, Purse::TYPE]);
    let counted: Vec<_> = counted.into_values().collect();
    assert_eq!(expect(bench.store().stored_aggregates().await), counted);
}

/// The position of the last event rises with each event, once all are read.
pub async fn the_last_position_rises<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    save(&store, &mut Purse::open("a")).await;
    let mut last = None;
    for _ in 0..3 {
        let mut purse = loaded(&store, "a").await;
        purse.credit(1);
        save(&store, &mut purse).await;
        all(&store, &Selection::All).await;
        let position = expect(bench.store().last_position().await);
        assert!(position > last, "{position:?} after {last:?}");
        last = position;
        assert_eq!(expect(store.last_position().await), last, "it stands still");
    }
}
