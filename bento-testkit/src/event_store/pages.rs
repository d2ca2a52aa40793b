//! Stored events in pages and as a stream.

use bento_core::DomainEvent;
use bento_relay::event_store::{Cursor, EventStore, Selection, StoredEvent};
use futures_util::TryStreamExt as _;

use super::bench::{
    MANY, all, assert_same, behind, expect, history, ids, is_of, loaded, page, save, selections,
};
use super::{Credited, Credits, EventStoreBench, Gauge, Opened, Purse, skipped};

/// A view is made of every event of its aggregate, however many pages they are, and of no other.
pub async fn a_view_is_made_of_each_event_of_its_aggregate<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    assert_eq!(expect(store.project::<Credits>("a").await), None);
    let (mut purse, mut other) = (Purse::open("a"), Purse::open("b"));
    (1..=1_100).for_each(|cents| purse.credit(cents));
    other.credit(7);
    save(&store, &mut purse).await;
    save(&store, &mut other).await;
    let credits = expect(store.project::<Credits>("a").await);
    let expected = (1..=1_100).map(|cents| (cents + 1, cents)).collect();
    assert_eq!(credits, Some(Credits(expected)));
}

/// An empty store has one page: the last.
pub async fn an_empty_store_has_an_empty_last_page<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    for of in selections() {
        let page = page(&store, &of, &Cursor::START, 5).await;
        assert!(page.events.is_empty() && page.is_last, "{of:?}");
        let (events, _) = behind(&store, &of, &page.next, 5).await;
        assert!(events.is_empty(), "{of:?}");
    }
}

/// Pages give each event once, whatever their size, and those of an aggregate in order.
pub async fn pages_of_every_size_give_each_event_once<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    history(&store).await;
    for of in selections() {
        let stored = all(&store, &of).await;
        for size in (1..=7).chain([stored.len().max(1), stored.len() + 1]) {
            let (read, _) = behind(&store, &of, &Cursor::START, size).await;
            assert_same(&read, &stored);
        }
    }
}

/// The events of an aggregate and of an event type are those of the store that are of it.
pub async fn a_selection_holds_its_own_events_alone<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    history(&store).await;
    let everything = all(&store, &Selection::All).await;
    assert_eq!(everything.len(), 7 + 210 + 20);
    for of in selections() {
        let its_own: Vec<StoredEvent> = everything
            .iter()
            .filter(|event| is_of(&of, &event.envelope))
            .cloned()
            .collect();
        let read = all(&store, &of).await;
        assert_same(&read, &its_own);
        for event in &read {
            let other = everything
                .iter()
                .find(|other| other.envelope.event_id == event.envelope.event_id);
            let other = other.map(|other| &other.envelope);
            assert_eq!(Some(&event.envelope), other, "read alike in each selection");
        }
    }
}

/// An aggregate has no events of one of another type whose id has the same text.
pub async fn aggregates_of_two_types_with_one_id_are_apart<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    let mut purse = Purse::open("a:1");
    save(&store, &mut purse).await;
    let mut gauge = Gauge::new("a", 1);
    gauge.count_up();
    gauge.count_up();
    save(&store, &mut gauge).await;
    purse.credit(1);
    purse.credit(2);
    save(&store, &mut purse).await;
    let (purses, gauges) = (
        Selection::of::<Purse>("a:1"),
        Selection::of::<Gauge>(("a".to_owned(), 1)),
    );
    for (of, events) in [(purses, 3), (gauges, 2)] {
        let stored = all(&store, &of).await;
        assert_eq!(stored.len(), events, "{of:?}");
        assert!(stored.iter().all(|event| is_of(&of, &event.envelope)));
    }
    assert_eq!(loaded(&store, "a:1").await.cents, 3);
    let gauge = expect(store.load::<Gauge>(("a".to_owned(), 1)).await);
    assert_eq!(gauge.map(|gauge| gauge.count), Some(2));
}

/// Behind the last page there is nothing until more is stored; then that comes, and only that.
pub async fn reading_goes_on_when_more_was_stored<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    let purse_alone = Selection::of::<Purse>("p1");
    let credits = Selection::EventType(Credited::SCHEMA.to_owned());
    let selections = [purse_alone, credits, Selection::All];
    let mut places = [Cursor::START, Cursor::START, Cursor::START];
    save(&store, &mut Purse::open("p0")).await;
    save(&store, &mut Purse::open("p1")).await;
    for round in 0..4 {
        let mut seen = Vec::new();
        for (of, place) in selections.iter().zip(&mut places) {
            let (events, next) = behind(&store, of, place, 2).await;
            let end = page(&store, of, &next, 2).await;
            assert!(
                end.events.is_empty() && end.is_last,
                "{of:?} in round {round}"
            );
            *place = end.next;
            seen.push(events.len());
        }
        let expected = if round == 0 { [1, 0, 2] } else { [2, 3, 3] };
        assert_eq!(seen, expected, "in round {round}");
        for (id, credits) in [("p0", 1), ("p1", 2)] {
            let mut purse = loaded(&store, id).await;
            (0..credits).for_each(|_| purse.credit(1));
            save(&store, &mut purse).await;
        }
    }
}

/// A stream gives what is stored, and then ends.
pub async fn a_stream_ends_at_the_present<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    let mut purse = Purse::open("p3");
    (0..1_200).for_each(|_| purse.credit(1));
    save(&store, &mut purse).await;
    let mut gauge = Gauge::new("hall", 14);
    gauge.count_up();
    save(&store, &mut gauge).await;
    for of in selections() {
        let streamed = store.stream(of.clone(), Cursor::START);
        let streamed: Vec<_> = expect(streamed.try_collect().await);
        let stored = behind(&store, &of, &Cursor::START, MANY).await.0;
        assert_same(&streamed, &stored);
        if let Some(last) = streamed.last() {
            let rest = store.stream(of.clone(), last.cursor.clone());
            let rest: Vec<StoredEvent> = expect(rest.try_collect().await);
            assert!(rest.is_empty(), "{of:?}");
        }
    }
}

/// An event whose transaction began first and commits last is read all the same, and once.
pub async fn an_event_that_commits_later_is_read_later<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    // The first save of all records what later ones only read.
    save(&store, &mut Purse::open("first")).await;
    let mut late = Purse::open("late");
    let Some(staged) = bench.stage(&mut late).await else {
        late.discard();
        skipped(
            "an_event_that_commits_later_is_read_later",
            "one transaction writes at a time",
        );
        return;
    };
    save(&store, &mut Purse::open("early")).await;
    let opened = Selection::EventType(Opened::SCHEMA.to_owned());
    let mut read = Vec::new();
    let mut places = Vec::new();
    for of in [&Selection::All, &opened] {
        let (events, next) = behind(&store, of, &Cursor::START, 3).await;
        read.push(events);
        places.push(next);
    }
    bench.commit(staged).await;
    for (index, of) in [&Selection::All, &opened].into_iter().enumerate() {
        let (rest, _) = behind(&store, of, &places[index], 3).await;
        let both = [read[index].as_slice(), rest.as_slice()].concat();
        assert_eq!(both.len(), 3, "each event once: {of:?}");
        assert_eq!(ids(&both), ids(&all(&store, of).await));
    }
}
