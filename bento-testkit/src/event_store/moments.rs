//! Aggregates as they were.

use bento_relay::event_store::{EventStore, Moment};
use chrono::{DateTime, TimeDelta, Utc};

use super::bench::{assert_conflict, expect, refused, save};
use super::{Credited, EventStoreBench, Purse};

/// A day of the past.
fn day(day: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(day)
}

/// A purse whose credits of 1, 2, 3 and 4 occurred on the days 10, 30, 20 and 40.
async fn stored(store: &impl EventStore) {
    let mut purse = Purse::default();
    purse.id = "a".to_owned();
    for (cents, on) in [(1, 10), (2, 30), (3, 20), (4, 40)] {
        purse.raise_with(Credited { cents }, |metadata| {
            metadata.with_occurred_at(day(on))
        });
    }
    save(store, &mut purse).await;
}

/// The version and the sum at a moment.
async fn at(store: &impl EventStore, moment: Moment) -> Option<(i64, i64)> {
    let purse = expect(store.load_at::<Purse>("a", moment).await);
    purse.map(|purse| (purse.version, purse.cents))
}

/// The number of the last event says how an aggregate was.
pub async fn an_aggregate_is_loaded_as_it_was_after_an_event<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    assert_eq!(at(&store, Moment::Sequence(1)).await, None);
    stored(&store).await;
    for (sequence, expected) in [
        (-1, None),
        (0, None),
        (1, Some((1, 1))),
        (3, Some((3, 6))),
        (4, Some((4, 10))),
        (5, Some((4, 10))),
        (i64::MAX, Some((4, 10))),
    ] {
        let found = at(&store, Moment::Sequence(sequence)).await;
        assert_eq!(found, expected, "after event {sequence}");
    }
}

/// The last event until a time says how an aggregate was, with all events before it.
pub async fn an_aggregate_is_loaded_as_it_was_at_a_time<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    stored(&store).await;
    for (time, expected) in [
        (day(9), None),
        (day(10), Some((1, 1))),
        (day(19), Some((1, 1))),
        // The event of day 30 stands before that of day 20.
        (day(20), Some((3, 6))),
        (day(35), Some((3, 6))),
        (day(40), Some((4, 10))),
        (Utc::now(), Some((4, 10))),
    ] {
        assert_eq!(at(&store, Moment::Time(time)).await, expected, "{time}");
    }
}

/// Times are told apart to the microsecond, in which they are stored.
pub async fn a_moment_is_exact_to_the_microsecond<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    let mut purse = Purse::default();
    purse.id = "a".to_owned();
    let occurred = [0, 7, 500, 1_000, 1_001, 1_001, 250_000, 1_000_000];
    let later = |micros| day(20_000) + TimeDelta::microseconds(micros);
    for micros in occurred {
        purse.raise_with(Credited { cents: micros }, |metadata| {
            metadata.with_occurred_at(later(micros))
        });
    }
    save(&store, &mut purse).await;
    for micros in occurred {
        for micros in [micros - 1, micros, micros + 1] {
            let events = occurred.iter().filter(|at| **at <= micros).count() as i64;
            let found = at(&store, Moment::Time(later(micros))).await;
            let expected = (events > 0).then_some(events);
            assert_eq!(found.map(|(version, _)| version), expected, "{micros}");
        }
    }
    for (time, expected) in [
        (DateTime::<Utc>::MIN_UTC, None),
        (DateTime::<Utc>::MAX_UTC, Some(8)),
    ] {
        let found = at(&store, Moment::Time(time)).await;
        assert_eq!(found.map(|(version, _)| version), expected, "{time}");
    }
}

/// An aggregate of the past is for reading.
pub async fn an_aggregate_of_the_past_is_not_saved<B: EventStoreBench>(bench: &B) {
    let store = bench.store();
    stored(&store).await;
    let past = store.load_at::<Purse>("a", Moment::Sequence(2)).await;
    let mut past = expect(past).expect("it had events then");
    past.credit(1);
    let conflict = refused(&store, &mut past).await;
    assert_conflict(&conflict, "a", (2, 4));
    past.discard();
}
