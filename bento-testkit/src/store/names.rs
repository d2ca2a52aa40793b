//! Text and times come back as they went in: names are told apart byte by byte, and a time is not
//! bound to this century.

use std::time::Duration;

use bento_core::outbox::OutboxEntry;
use bento_relay::dead_letter::{DeadLetterFilter, DeadLetterQuery, DeadLetters};
use bento_relay::inspect::Inspect;
use bento_relay::publish::Destination;
use bento_relay::store::{NewDeadLetter, OutboxRow, Outcome, Settlement};
use bento_relay::tenant::Pauses;
use chrono::{DateTime, Utc};

use super::StoreHarness;
use super::bench::{
    Bench, LONG, dead_letter, died, event, event_of_tenant, failed, failure, follows, held_numbers,
    held_published, numbers,
};

/// Names that a database may take for one: they differ by a space at the end, by case, by an
/// accent, or by how that is written.
const NAMES: [&str; 7] = [
    "acme",
    "acme ",
    "acme  ",
    "acme\t",
    "Acme",
    "acmé",
    "acme\u{301}",
];

fn numbered<T>(of: impl Fn(&str, u32) -> T) -> Vec<T> {
    NAMES
        .iter()
        .zip(1..)
        .map(|(name, number)| of(name, number))
        .collect()
}

fn names_but<'a>(left_out: &'a str) -> impl Iterator<Item = &'static str> + 'a {
    NAMES.into_iter().filter(move |name| *name != left_out)
}

/// Aggregates whose ids differ by a space, the case or an accent are streams of their own: none
/// waits for another, and a dead letter parks its own alone.
pub async fn names_that_differ_by_a_space_or_the_case_are_streams_of_their_own<H: StoreHarness>(
    harness: &H,
) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending(numbered(event)).await;
    let mut settled = vec![died(&rows[0], true), failed(&rows[1], LONG)];
    settled.extend(rows[2..].iter().map(|row| failed(row, Duration::ZERO)));
    let next = bench.settle(settled).await;
    assert_eq!(held_numbers(&next.held), [3, 4, 5, 6, 7]);
    let mut streams: Vec<_> = next
        .streams
        .expect("they are asked for")
        .into_iter()
        .map(|key| key.aggregate_id)
        .collect();
    streams.sort_unstable();
    let mut names = NAMES;
    names.sort_unstable();
    assert_eq!(streams, names);
    let next = bench
        .settle(next.held.iter().map(held_published).collect())
        .await;
    assert_eq!(
        next.streams.map(|streams| streams.len()),
        Some(2),
        "the first two still wait"
    );
    let rows = bench
        .pending(numbered(|name, number| event(name, number + 10)))
        .await;
    let next = bench.settle(rows.iter().map(follows).collect()).await;
    assert_eq!(held_numbers(&next.held), [13, 14, 15, 16, 17]);
}

/// The same row is held for each of several routes whose names differ so.
pub async fn names_that_differ_by_a_space_or_the_case_are_routes_of_their_own<H: StoreHarness>(
    harness: &H,
) {
    let bench = Bench::new(harness).await;
    let row = bench.pending([event("a", 1)]).await.remove(0);
    let hold = |route: &str| {
        Settlement::pending(
            row.position,
            route.into(),
            Outcome::Retry(failure(1, Duration::ZERO)),
        )
    };
    let held = bench
        .settle(NAMES.iter().map(|name| hold(name)).collect())
        .await
        .held;
    assert_eq!(held.len(), NAMES.len());
    let left: Vec<_> = held
        .iter()
        .filter(|held| &*held.route != "acme")
        .cloned()
        .collect();
    let first = held
        .iter()
        .find(|held| &*held.route == "acme")
        .expect("it is held for each");
    let next = bench.settle(vec![held_published(first)]).await;
    assert_eq!(next.held.len(), left.len(), "published for one of them");
    let bury = |route: &str| {
        Settlement::held(row.position, route.into(), Outcome::Dead(dead_letter(true)))
    };
    bench
        .settle(left.iter().map(|held| bury(&held.route)).collect())
        .await;
    for name in names_but("acme") {
        let found = bench
            .store
            .find(row.envelope.event_id, name)
            .await
            .expect("the store is there");
        assert_eq!(
            found.map(|letter| letter.route.to_string()),
            Some(name.to_owned())
        );
    }
    assert!(
        bench
            .store
            .find(row.envelope.event_id, "acme")
            .await
            .expect("the store is there")
            .is_none()
    );
    let replayed = bench
        .store
        .replay(row.envelope.event_id, "acme ")
        .await
        .expect("the store is there");
    assert!(replayed.replayed);
    assert_eq!(bench.next().await.held.len(), 1, "and no other");
}

/// Pausing one tenant pauses no other.
pub async fn names_that_differ_by_a_space_or_the_case_are_tenants_of_their_own<H: StoreHarness>(
    harness: &H,
) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending(numbered(event_of_tenant)).await;
    bench
        .settle(rows.iter().map(|row| failed(row, Duration::ZERO)).collect())
        .await;
    assert!(
        bench
            .store
            .pause("acme", "it asked for it", None)
            .await
            .expect("the store is there")
    );
    for name in names_but("acme") {
        assert!(
            !bench.store.resume(name).await.expect("the store is there"),
            "`{name}` is not paused"
        );
    }
    assert_eq!(held_numbers(&bench.next().await.held), [2, 3, 4, 5, 6, 7]);
    for name in names_but("acme") {
        assert!(
            bench
                .store
                .pause(name, "it asked for it", None)
                .await
                .expect("the store is there"),
            "`{name}`"
        );
    }
    assert!(
        bench
            .store
            .resume("acme")
            .await
            .expect("the store is there")
    );
    assert_eq!(held_numbers(&bench.next().await.held), [1]);
    let counted = bench
        .store
        .counts_by_tenant()
        .await
        .expect("the store is there");
    assert_eq!(counted.len(), NAMES.len());
}

/// Each filter of dead letters finds the one that it names.
pub async fn names_that_differ_by_a_space_or_the_case_are_filtered_apart<H: StoreHarness>(
    harness: &H,
) {
    let bench = Bench::new(harness).await;
    let named = |name: &str, number| {
        let mut entry = event_of_tenant(name, number);
        entry.envelope.event_type = name.to_owned().into();
        entry
    };
    let rows = bench.pending(numbered(named)).await;
    let bury = |(row, name): (&OutboxRow, &str)| {
        let dead = NewDeadLetter {
            cause: name.to_owned().into(),
            ..dead_letter(true)
        };
        Settlement::pending(row.position, name.into(), Outcome::Dead(dead))
    };
    bench
        .settle(rows.iter().zip(NAMES).map(bury).collect())
        .await;
    let any = DeadLetterFilter::default;
    for (name, number) in NAMES.into_iter().zip(1_u32..) {
        let filters = [
            any().tenant(name),
            any().event_type(name),
            any().route(name),
            any().cause(name),
            any().aggregate("thing", name),
        ];
        for filter in filters {
            let found = bench
                .store
                .list(&DeadLetterQuery::of(filter.clone()))
                .await
                .expect("the store is there");
            assert_eq!(
                super::dead_letters::dead_numbers(&found),
                [number],
                "{filter:?}"
            );
        }
    }
}

/// An event of another century comes back with its time, from every table.
pub async fn a_time_of_any_year_with_four_digits_comes_back_whole<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let times = [
        "1000-01-01T00:00:00Z",
        "1969-07-20T20:17:40.5Z",
        "1970-01-01T00:00:00Z",
        "2038-01-20T00:00:00.000001Z",
        "2040-02-29T12:00:00Z",
        "9999-12-31T23:59:59.999999Z",
    ];
    for time in times {
        let mut entry = event("a", 1);
        entry.envelope.occurred_at = time.parse().expect("a time");
        harness
            .append(vec![OutboxEntry {
                may_be_known: false,
                ..entry.clone()
            }])
            .await;
        let row = bench.next().await.pending.remove(0);
        assert_eq!(*row.envelope, entry.envelope, "{time}");
        let age = bench
            .store
            .oldest_pending()
            .await
            .expect("the store is there")
            .expect("one is pending");
        let since = (Utc::now() - entry.envelope.occurred_at)
            .to_std()
            .unwrap_or_default();
        assert!(
            age.abs_diff(since) < Duration::from_secs(60),
            "{time}: {age:?}"
        );
        let held = bench
            .settle(vec![failed(&row, Duration::ZERO)])
            .await
            .held
            .remove(0);
        assert_eq!(*held.row.envelope, entry.envelope, "held: {time}");
        let dead = Settlement::held(
            row.position,
            Destination::DEFAULT.into(),
            Outcome::Dead(dead_letter(true)),
        );
        bench.settle(vec![dead]).await;
        let letter = bench
            .store
            .list(&DeadLetterQuery::default())
            .await
            .expect("the store is there")
            .remove(0);
        assert_eq!(*letter.envelope, entry.envelope, "dead: {time}");
        bench
            .store
            .replay(entry.envelope.event_id, Destination::DEFAULT)
            .await
            .expect("the store is there");
        let held = bench.next().await.held.remove(0);
        bench.settle(vec![held_published(&held)]).await;
    }
    let many: Vec<_> = (1..=60)
        .map(|number| {
            let mut entry = event("b", number);
            entry.envelope.occurred_at = times[number as usize % times.len()]
                .parse()
                .expect("a time");
            entry
        })
        .collect();
    let written: Vec<_> = many
        .iter()
        .map(|entry| entry.envelope.occurred_at)
        .collect();
    harness.append(many).await;
    let rows = bench.next().await.pending;
    assert_eq!(
        rows.iter()
            .map(|row| row.envelope.occurred_at)
            .collect::<Vec<_>>(),
        written,
        "many at once"
    );
    assert_eq!(numbers(&rows).len(), 60);
}

/// A filter that reaches far finds everything in its reach, however far.
pub async fn a_filter_reaches_as_far_as_it_says<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let row = bench.pending([event("a", 1)]).await.remove(0);
    bench.settle(vec![died(&row, true)]).await;
    let time = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
    let early = ["1969-12-31T00:00:00Z", "1000-01-01T00:00:00Z"].map(time);
    let late = [
        "2038-01-20T00:00:00Z",
        "2040-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
    ]
    .map(time);
    let found = async |filter| {
        bench
            .store
            .list(&DeadLetterQuery::of(filter))
            .await
            .expect("the store is there")
            .len()
    };
    let any = DeadLetterFilter::default;
    for early in early.into_iter().chain([DateTime::<Utc>::MIN_UTC]) {
        assert_eq!(found(any().failed_since(early)).await, 1, "since {early}");
        assert_eq!(found(any().failed_until(early)).await, 0, "until {early}");
    }
    for late in late.into_iter().chain([DateTime::<Utc>::MAX_UTC]) {
        assert_eq!(found(any().failed_until(late)).await, 1, "until {late}");
        assert_eq!(found(any().failed_since(late)).await, 0, "since {late}");
    }
}
