//! Saving and loading.

use bento_core::report::with_causes;
use bento_core::saving::SavingError;
use bento_core::unit_of_work::FlushError;
use bento_core::{Aggregate, DomainEvent, EventId, Metadata, Registry};
use bento_relay::event_store::{EventStore, EventStoreError, Moment, Selection};
use chrono::{DateTime, TimeDelta};

use super::bench::{all, assert_conflict, expect, loaded, numbers, refused, save};
use super::{Credited, EventStoreBench, Gauge, Opened, Purse, PurseEvent, skipped};

/// An aggregate comes back with the state of its events and their number as its version.
pub async fn an_aggregate_is_loaded_as_it_was_saved<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    let mut purse = Purse::open("a");
    purse.credit(5);
    save(&store, &mut purse).await;
    assert_eq!((purse.version, purse.pending().len()), (2, 0));
    purse.credit(7);
    save(&store, &mut purse).await;
    assert_eq!(purse.version, 3);

    let found = loaded(&bench.store(), "a").await;
    assert_eq!((found.id.as_str(), found.version), ("a", 3));
    assert_eq!(
        (found.owner.as_str(), found.currency.as_str()),
        ("Ann", "DKK")
    );
    assert_eq!((found.cents, found.pending().len()), (12, 0));
}

/// An id without events has no aggregate, and so has an empty one.
pub async fn an_id_without_events_has_no_aggregate<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    save(&store, &mut Purse::open("a")).await;
    for id in ["b", "A", ""] {
        assert!(expect(store.load::<Purse>(id).await).is_none(), "{id:?}");
    }
    let gauge = expect(store.load::<Gauge>(("a".to_owned(), 1)).await);
    assert!(gauge.is_none(), "an aggregate of another type");
}

/// A save without events stores nothing, and never conflicts.
pub async fn a_save_without_events_stores_nothing<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    save(&store, &mut Purse::default()).await;
    let mut purse = Purse::open("a");
    save(&store, &mut purse).await;
    let mut old = loaded(&store, "a").await;
    purse.credit(1);
    save(&store, &mut purse).await;
    save(&store, &mut old).await;
    assert_eq!(old.version, 1);
    assert_eq!(all(&store, &Selection::All).await.len(), 2);
}

/// The second of two who loaded the same aggregate is refused, with both numbers.
pub async fn the_second_of_two_saves_is_a_conflict_with_both_numbers<B: EventStoreBench>(
    bench: &B,
) {
    let store = bench.store();
    save(&store, &mut Purse::open("a")).await;
    let mut first = loaded(&store, "a").await;
    let mut second = loaded(&bench.store(), "a").await;
    first.credit(1);
    first.credit(1);
    save(&store, &mut first).await;
    second.credit(2);
    let conflict = refused(&store, &mut second).await;
    assert_conflict(&conflict, "a", (1, 3));
    assert_eq!(loaded(&store, "a").await.cents, 2);
    second.discard();
}

/// The same of two who make the aggregate.
pub async fn of_two_new_aggregates_of_one_id_the_second_is_a_conflict<B: EventStoreBench>(
    bench: &B,
) {
    let store = bench.store();
    save(&store, &mut Purse::open("a")).await;
    let mut second = Purse::open("a");
    second.credit(9);
    let conflict = refused(&store, &mut second).await;
    assert_conflict(&conflict, "a", (0, 1));
    second.discard();
    // Also if the first has no events any more that the second could know of.
    let mut invented = Purse::open("b");
    invented.version = 5;
    let conflict = refused(&store, &mut invented).await;
    assert_conflict(&conflict, "b", (5, 0));
    invented.discard();
}

/// The loser of a conflict keeps its events, and succeeds on an aggregate that is loaded again.
pub async fn after_a_conflict_the_events_are_back_and_a_repetition_succeeds<B: EventStoreBench>(
    bench: &B,
) {
    let store = bench.store();
    save(&store, &mut Purse::open("a")).await;
    let mut loser = loaded(&store, "a").await;
    let mut winner = loaded(&store, "a").await;
    winner.credit(1);
    save(&store, &mut winner).await;
    loser.credit(10);
    loser.credit(20);
    // Refused as often as it is repeated.
    for _ in 0..2 {
        let conflict = refused(&store, &mut loser).await;
        assert_conflict(&conflict, "a", (1, 2));
    }
    let mut again = loaded(&store, "a").await;
    for event in loser.take() {
        match event {
            PurseEvent::Credited(credited) => again.credit(credited.cents),
            PurseEvent::Opened(opened) => panic!("{opened:?} was not pending"),
        }
    }
    save(&store, &mut again).await;
    assert_eq!(again.version, 4);
    let found = loaded(&store, "a").await;
    assert_eq!((found.version, found.cents), (4, 31));
}

/// The id of a stored event is refused for another one, of any aggregate.
pub async fn an_event_id_that_is_stored_is_refused<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    let id = EventId::new();
    let named = |metadata: Metadata| metadata.with_event_id(id);
    let mut first = Purse::open("a");
    first.raise_with(Credited { cents: 1 }, named);
    save(&store, &mut first).await;

    let mut same = loaded(&store, "a").await;
    let mut other = Purse::open("b");
    for purse in [&mut same, &mut other] {
        purse.raise_with(Credited { cents: 1 }, named);
        let error = refused(&store, purse).await;
        let EventStoreError::AlreadyStored { event_ids, .. } = &error else {
            panic!("another refusal: {}", with_causes(&error))
        };
        assert!(event_ids.contains(&id));
        assert!(error.to_string().contains(&id.to_string()), "{error}");
        purse.discard();
    }
    assert_eq!(
        all(&store, &Selection::All).await.len(),
        2,
        "nothing was stored"
    );
}

/// One id is not stored twice by one save either.
pub async fn an_event_id_that_occurs_twice_in_a_save_is_refused<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    let id = EventId::new();
    let mut purse = Purse::open("a");
    for cents in 1..=2 {
        purse.raise_with(Credited { cents }, |metadata| metadata.with_event_id(id));
    }
    let error = refused(&store, &mut purse).await;
    assert!(
        matches!(error, EventStoreError::AlreadyStored { .. }),
        "{}",
        with_causes(&error)
    );
    purse.discard();
    assert!(all(&store, &Selection::All).await.is_empty());
}

/// Events need an id to be stored under.
pub async fn an_empty_id_is_refused<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    let mut purse = Purse::open("");
    let error = refused(&store, &mut purse).await;
    assert!(
        matches!(error, EventStoreError::NoKey { aggregate_type } if aggregate_type == Purse::TYPE),
        "{}",
        with_causes(&error)
    );
    purse.discard();
}

/// An aggregate keeps the id under which it has raised its events.
pub async fn an_id_that_was_changed_is_refused<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    let mut purse = Purse::open("a");
    purse.id = "b".to_owned();
    let error = refused(&store, &mut purse).await;
    assert!(
        matches!(
            &error,
            EventStoreError::Flush(FlushError::OtherAggregateId { raised_as, saved_as, .. })
                if raised_as == "a" && saved_as == "b"
        ),
        "{}",
        with_causes(&error)
    );
    assert!(all(&store, &Selection::All).await.is_empty());
    purse.id = "a".to_owned();
    save(&store, &mut purse).await;
    assert_eq!(loaded(&store, "a").await.version, 1);
}

/// An id that no store takes has no aggregate: looking for it is no error, and saving it is.
pub async fn an_id_that_cannot_be_stored_has_no_aggregate<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    for id in ["a\0", "\0", &"x".repeat(256)] {
        assert!(expect(store.load::<Purse>(id).await).is_none(), "{id:?}");
        let past = store.load_at::<Purse>(id, Moment::Sequence(1)).await;
        assert!(expect(past).is_none(), "{id:?}");
        for of in [
            Selection::of::<Purse>(id),
            Selection::EventType(id.to_owned()),
        ] {
            assert!(all(&store, &of).await.is_empty(), "{of:?}");
        }
        let mut purse = Purse::open(id);
        let error = refused(&store, &mut purse).await;
        assert!(
            matches!(error, EventStoreError::Flush(FlushError::Unstorable { .. })),
            "{}",
            with_causes(&error)
        );
        purse.discard();
    }
}

/// No version lies behind the largest integer.
pub async fn a_version_that_no_integer_holds_is_refused<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    let mut purse = Purse::open("a");
    purse.version = i64::MAX;
    let error = refused(&store, &mut purse).await;
    assert!(
        matches!(
            error,
            EventStoreError::Saving(SavingError::VersionTooLarge { aggregate_type, .. })
                if aggregate_type == Purse::TYPE
        ),
        "{}",
        with_causes(&error)
    );
    purse.discard();
}

/// Id, tenant, headers, time and payload of an event are stored with it.
pub async fn what_an_event_carries_is_stored<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    let id = EventId::new();
    let at = DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::microseconds(7);
    let metadata = Metadata::default()
        .with_tenant("acme")
        .with_correlation("request-7")
        .with_header("x-colour", "grün");
    let mut purse = metadata.clone().scope_sync(|| Purse::open("a"));
    purse.raise_with(Credited { cents: 1 }, |_| {
        metadata.clone().with_event_id(id).with_occurred_at(at)
    });
    save(&store, &mut purse).await;

    let events = all(&store, &Selection::of::<Purse>("a")).await;
    let event = &events[1].envelope;
    assert_eq!((event.event_id, event.occurred_at), (id, at));
    assert_eq!(
        (&*event.event_type, event.schema_version),
        (Credited::SCHEMA, 1)
    );
    assert_eq!(
        (&*event.aggregate_type, event.sequence),
        (Purse::TYPE, Some(2))
    );
    assert_eq!(&*event.payload, br#"{"cents":1}"#);
    for event in [&events[0].envelope, event] {
        assert_eq!(event.tenant_id.as_deref(), Some("acme"));
        let headers = event.headers().expect("they can be read");
        assert_eq!(headers.correlation_id.as_deref(), Some("request-7"));
        assert_eq!(headers.extra["x-colour"], "grün");
    }
}

/// An integration event goes to the outbox alone. The program under test declares one that is made
/// from [`Opened`].
pub async fn integration_events_are_not_stored<B: EventStoreBench>(bench: &B) {
    let made = Registry::global().events().find(|event| {
        let source = event.made_from;
        source.is_some_and(|source| source.schema == Opened::SCHEMA)
    });
    let Some(made) = made else {
        return skipped(
            "integration_events_are_not_stored",
            "the program declares no integration event from `Opened`",
        );
    };
    let store = bench.store();
    save(&store, &mut Purse::open("a")).await;
    let events = all(&store, &Selection::All).await;
    let types = events.iter().map(|event| &*event.envelope.event_type);
    assert_eq!(types.collect::<Vec<_>>(), [Opened::SCHEMA]);
    let made = Selection::EventType(made.schema.to_owned());
    assert!(all(&store, &made).await.is_empty());
}

/// Ids that differ in case, space, accents or a separator are aggregates of their own.
pub async fn ids_of_any_text_are_aggregates_of_their_own<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    let (long, longer) = ("ø".repeat(255), format!("{}o", "ø".repeat(254)));
    let ids = [
        "a",
        "A",
        "a ",
        " a",
        "á",
        "a:b",
        r"a\:b",
        r"a\b",
        "'; --",
        "%",
        "日本語 🦀",
        "0",
        &long,
        &longer,
    ];
    for (index, id) in ids.iter().enumerate() {
        let mut purse = Purse::open(*id);
        purse.credit(index as i64);
        save(&store, &mut purse).await;
    }
    for (index, id) in ids.iter().enumerate() {
        let purse = loaded(&store, id).await;
        assert_eq!((purse.id.as_str(), purse.cents), (*id, index as i64));
        let events = all(&store, &Selection::of::<Purse>(*id)).await;
        let of: Vec<_> = events
            .iter()
            .map(|event| &event.envelope.aggregate_id)
            .collect();
        assert_eq!(of, [id, id]);
    }
    let parts = [("a", 1), ("a:1", 1), (r"a\", 1), ("", 1), ("a", 0)];
    for (place, number) in parts {
        let mut gauge = Gauge::new(place, number);
        gauge.count_up();
        save(&store, &mut gauge).await;
    }
    for (place, number) in parts {
        let gauge = expect(store.load::<Gauge>((place.to_owned(), number)).await);
        let gauge = gauge.expect("it is stored");
        assert_eq!(
            (gauge.place.as_str(), gauge.number, gauge.count),
            (place, number, 1)
        );
    }
}

/// More events than one statement takes are stored by one save.
pub async fn many_events_are_saved_at_once<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    let mut purse = Purse::open("a");
    (1..5_000).for_each(|_| purse.credit(1));
    save(&store, &mut purse).await;
    let found = loaded(&store, "a").await;
    assert_eq!((found.version, found.cents), (5_000, 4_999));
    let events = all(&store, &Selection::All).await;
    let stored: Vec<i64> = numbers(&events).into_values().flatten().collect();
    assert_eq!(stored, (1..=5_000).collect::<Vec<_>>());
}
