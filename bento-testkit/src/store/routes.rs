//! The routes of an event: each holds and forgets it by itself.

use std::sync::Arc;
use std::time::Duration;

use bento_relay::RelayStore;
use bento_relay::dead_letter::{DeadLetterQuery, DeadLetters};
use bento_relay::inspect::Inspect;
use bento_relay::publish::Destination;
use bento_relay::store::{Advance, Failure, NewDeadLetter, OutboxRow, Outcome, Settlement};

use super::StoreHarness;
use super::bench::{
    Bench, LONG, call, dead_letter, default_route, died, event, failed, failure, follows,
    held_numbers, held_published, published,
};

/// One row may wait for one route and be done or waiting for another; each goes its own way.
pub async fn routes_hold_independently<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let row = bench.pending([event("a", 1)]).await.remove(0);
    let hold = |route: &str, retry_after| {
        Settlement::pending(
            row.position,
            Arc::from(route),
            Outcome::Retry(failure(1, retry_after)),
        )
    };
    let both = bench
        .settle(vec![
            hold("left", LONG),
            hold("right", Duration::ZERO),
            published(&row),
        ])
        .await;
    assert_eq!(
        both.pending,
        [],
        "the last settlement deletes the pending row"
    );
    assert_eq!(both.held.len(), 1);
    assert_eq!(&*both.held[0].route, "right");
    assert_eq!(both.streams.expect("asked for").len(), 2);
    let rest = bench.settle(vec![held_published(&both.held[0])]).await;
    let streams = rest.streams.expect("asked for");
    assert_eq!(
        streams
            .iter()
            .map(|stream| &*stream.route)
            .collect::<Vec<_>>(),
        ["left"]
    );
    assert_eq!(
        bench.store.counts().await.expect("the store is there").held,
        1
    );
}

/// The destinations that have confirmed a row are kept with it: while it is held, when it is dead,
/// and when it is replayed.
pub async fn those_who_have_confirmed_are_remembered<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let row = bench.pending([event("a", 1)]).await.remove(0);
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|name| Arc::from(*name))
            .collect::<Vec<_>>()
    };
    let delivered = names(&["left, \"odd\"", "right"]);
    let first = Failure {
        delivered: delivered.clone(),
        ..failure(1, Duration::ZERO)
    };
    let (position, route) = (row.position, default_route());
    let hold = Settlement::pending(position, route, Outcome::Retry(first));
    let held = bench.settle(vec![hold]).await.held.remove(0);
    assert_eq!(held.delivered, delivered);
    let again = Failure {
        delivered: names(&["left"]),
        ..failure(2, Duration::ZERO)
    };
    let route = default_route();
    let held = bench
        .settle(vec![Settlement::held(
            position,
            route,
            Outcome::Retry(again),
        )])
        .await
        .held;
    assert_eq!(
        held[0].delivered,
        names(&["left"]),
        "the last failure counts"
    );
    let dead = NewDeadLetter {
        delivered: delivered.clone(),
        ..dead_letter(true)
    };
    let route = default_route();
    bench
        .settle(vec![Settlement::held(position, route, Outcome::Dead(dead))])
        .await;
    let letters = bench
        .store
        .list(&DeadLetterQuery::default())
        .await
        .expect("the store is there");
    assert_eq!(letters[0].delivered, delivered);
    bench
        .store
        .replay(row.envelope.event_id, Destination::DEFAULT)
        .await
        .expect("the store is there");
    let replayed = bench.next().await.held.remove(0);
    assert_eq!((replayed.delivered, replayed.attempts), (delivered, 0));
}

/// Held rows of a route that is away are neither returned nor foretold; as soon as it is back they
/// are.
pub async fn rows_of_a_route_that_is_away_are_not_wanted<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let row = bench.pending([event("a", 1)]).await.remove(0);
    let hold = |route: &str, retry_after| {
        Settlement::pending(
            row.position,
            Arc::from(route),
            Outcome::Retry(failure(1, retry_after)),
        )
    };
    let soon = Duration::ZERO;
    bench
        .settle(vec![
            hold("left", soon),
            hold("right", soon),
            hold("late", LONG),
        ])
        .await;
    let revision = Some(bench.next().await.revision);
    let without = async |away: &[&str]| {
        let without = away.iter().map(|name| Arc::from(*name)).collect();
        let advanced = bench
            .advance(Advance {
                without,
                revision,
                ..call(bench.lease)
            })
            .await;
        let mut due: Vec<_> = advanced
            .held
            .iter()
            .map(|held| held.route.to_string())
            .collect();
        due.sort();
        (due.join(" "), advanced.next_due.is_some())
    };
    for _ in 0..2 {
        assert_eq!(without(&["left"]).await, ("right".to_owned(), true));
        assert_eq!(without(&["left", "right"]).await, (String::new(), true));
        assert_eq!(
            without(&["left", "right", "late"]).await,
            (String::new(), false)
        );
        assert_eq!(without(&[]).await, ("left right".to_owned(), true));
    }
}

/// The poll finds no work in rows that wait for a route that is away, and all of it when that is
/// back.
pub async fn a_poll_passes_over_routes_that_are_away<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending([event("a", 1), event("b", 2)]).await;
    let away = [default_route()];
    let poll = async |away: &[Arc<str>]| {
        bench
            .store
            .poll(&[0], away)
            .await
            .expect("the store is there")
            .len()
    };
    let held = bench
        .settle(vec![failed(&rows[0], Duration::ZERO), died(&rows[1], true)])
        .await;
    for _ in 0..2 {
        assert_eq!((poll(&away).await, poll(&[]).await), (0, 1));
        let quiet = Advance {
            without: away.to_vec(),
            revision: Some(held.revision),
            ..call(bench.lease)
        };
        assert_eq!(bench.advance(quiet).await.held, [], "it is away");
    }
    assert_eq!(
        bench.settle(vec![held_published(&held.held[0])]).await.held,
        []
    );
    assert_eq!(poll(&[]).await, 0);
    bench
        .store
        .replay(rows[1].envelope.event_id, Destination::DEFAULT)
        .await
        .expect("the store is there");
    assert_eq!(poll(&[]).await, 1, "an operator made it due");
}

/// A held row that falls back to another route is the head of its stream there, and lets its
/// followers go on.
pub async fn a_held_row_moves_to_another_route<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([event("a", 1), event("a", 2), event("b", 3)])
        .await;
    let elsewhere: Arc<str> = "elsewhere".into();
    let mut settled = vec![
        failed(&rows[0], Duration::ZERO),
        follows(&rows[1]),
        failed(&rows[2], LONG),
    ];
    settled.push(Settlement::pending(
        rows[2].position,
        elsewhere.clone(),
        Outcome::Dead(dead_letter(false)),
    ));
    let held = bench.settle(settled).await.held;
    let moved = |row: &OutboxRow| {
        Settlement::held(
            row.position,
            default_route(),
            Outcome::Moved {
                to: elsewhere.clone(),
            },
        )
    };
    let mut held = bench
        .settle(vec![moved(&held[0].row), moved(&rows[2])])
        .await
        .held;
    held.sort_by_key(|held| held.row.position);
    assert_eq!(
        held_numbers(&held),
        [1, 2],
        "what is dead there already is not doubled"
    );
    assert_eq!((&held[0].route, held[0].attempts), (&elsewhere, 0));
    assert_eq!(held[1].route, default_route(), "its follower is due");
    let again = bench.settle(vec![moved(&held[0].row)]).await.held;
    assert_eq!(again.len(), 2, "a row that has left is left alone");
}
