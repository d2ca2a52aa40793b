//! Rows that a relay knows no way for: how long they have waited, and where they go once a relay
//! knows one.

use std::sync::Arc;
use std::time::Duration;

use bento_relay::dead_letter::DeadLetters;
use bento_relay::inspect::Inspect;
use bento_relay::store::{HeldRow, NewDeadLetter, OutboxRow, Outcome, Settlement, Unroutable};

use super::StoreHarness;
use super::bench::{
    Bench, LONG, dead_letter, default_route, event, held_failed, held_numbers, unordered_event,
};

fn obstacle(retry_after: Duration) -> Unroutable {
    Unroutable {
        retry_after,
        error: "no rule applies".to_owned(),
    }
}

fn queue() -> Arc<str> {
    Arc::from(NewDeadLetter::UNROUTABLE)
}

fn lost(row: &OutboxRow, route: &Arc<str>, retry_after: Duration) -> Settlement {
    let (position, route, why) = (
        row.position,
        Arc::clone(route),
        Outcome::Unroutable(obstacle(retry_after)),
    );
    Settlement::pending(position, route, why)
}

fn still_lost(held: &HeldRow, retry_after: Duration) -> Settlement {
    let (position, route) = (held.row.position, Arc::clone(&held.route));
    Settlement::held(position, route, Outcome::Unroutable(obstacle(retry_after)))
}

/// A row that a relay knows no way for is due again after its wait, keeps its attempts, and says
/// since when none was known, by the clock of the store. What is recorded of it otherwise ends
/// that.
pub async fn an_unroutable_row_says_for_how_long_it_is<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([
            event("a", 1),
            event("a", 2),
            unordered_event(3),
            event("b", 4),
        ])
        .await;
    let to = default_route();
    let follows = Settlement::pending(rows[1].position, queue(), Outcome::Behind);
    let settled = vec![
        lost(&rows[0], &queue(), Duration::ZERO),
        follows,
        lost(&rows[2], &queue(), Duration::ZERO),
        lost(&rows[3], &to, LONG),
    ];
    let mut held = bench.settle(settled).await.held;
    held.sort_by_key(|held| held.row.position);
    assert_eq!(
        held_numbers(&held),
        [1, 2, 3],
        "one waits, and a follower comes with its head"
    );
    assert_eq!(
        held.iter().map(|held| held.attempts).collect::<Vec<_>>(),
        [0, 0, 0]
    );
    assert_eq!(
        held.iter()
            .map(|held| held.unroutable_for.is_some())
            .collect::<Vec<_>>(),
        [true, false, true]
    );

    harness.pass(harness.short()).await;
    let mut again = bench
        .settle(
            held.iter()
                .map(|held| still_lost(held, Duration::ZERO))
                .collect(),
        )
        .await
        .held;
    again.sort_by_key(|held| held.row.position);
    let waited = again[0].unroutable_for.expect("no way was found again");
    assert!(
        waited >= harness.short() && waited < LONG / 2,
        "it runs from the first time: {waited:?}"
    );
    assert!(
        again[2].unroutable_for >= Some(harness.short()),
        "{:?}",
        again[2].unroutable_for
    );

    let found = bench
        .settle(vec![
            held_failed(&again[0], 3, Duration::ZERO),
            still_lost(&again[2], LONG),
        ])
        .await
        .held;
    assert_eq!(
        (
            held_numbers(&found),
            found[0].unroutable_for,
            found[0].attempts
        ),
        (vec![1, 2], None, 3)
    );
    let lost_again = bench
        .settle(vec![still_lost(&found[0], Duration::ZERO)])
        .await
        .held;
    assert_eq!(
        lost_again[0].attempts, 3,
        "that does not count as an attempt"
    );
    assert!(
        lost_again[0].unroutable_for.expect("known") < harness.short(),
        "it runs anew"
    );
}

/// A row that is given up because no way was found parks its stream, and a replay begins anew.
pub async fn an_unroutable_row_that_is_given_up_begins_anew_when_it_is_replayed<H: StoreHarness>(
    harness: &H,
) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending([event("a", 1)]).await;
    let held = bench
        .settle(vec![lost(&rows[0], &queue(), Duration::ZERO)])
        .await
        .held;
    let dead = NewDeadLetter {
        attempts: 0,
        cause: NewDeadLetter::UNROUTABLE.into(),
        ..dead_letter(true)
    };
    let bury = Settlement::held(held[0].row.position, queue(), Outcome::Dead(dead));
    let parked = bench.settle(vec![bury]).await;
    assert_eq!(
        (parked.held.len(), parked.streams.expect("asked for").len()),
        (0, 1)
    );
    let replayed = bench
        .store
        .replay(rows[0].envelope.event_id, &queue())
        .await
        .expect("the store is there");
    assert!(
        replayed.replayed && !replayed.later_ones_out,
        "the aggregate has waited for it"
    );
    let due = bench.next().await.held;
    assert_eq!((held_numbers(&due), due[0].unroutable_for), (vec![1], None));
}

/// A held row that moves to where it is stays there, and is not lost.
pub async fn a_held_row_that_moves_to_where_it_is_stays_there<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending([event("a", 1)]).await;
    let held = bench
        .settle(vec![lost(&rows[0], &queue(), Duration::ZERO)])
        .await
        .held;
    let position = held[0].row.position;
    let stays = Settlement::held(position, queue(), Outcome::Moved { to: queue() });
    let held = bench.settle(vec![stays]).await.held;
    assert_eq!(
        (held_numbers(&held), &*held[0].route),
        (vec![1], NewDeadLetter::UNROUTABLE)
    );
}

/// A held row moves to several routes in one call, to each in its place by its position.
pub async fn a_held_row_moves_to_several_routes_at_once<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([event("a", 1), event("a", 2), event("a", 3)])
        .await;
    let (left, right): (Arc<str>, Arc<str>) = ("left".into(), "right".into());
    let later = Settlement::pending(rows[2].position, left.clone(), Outcome::Behind);
    let settled = vec![
        lost(&rows[0], &queue(), Duration::ZERO),
        lost(&rows[1], &queue(), Duration::ZERO),
        later,
    ];
    let held = bench.settle(settled).await.held;
    let moves = held
        .iter()
        .filter(|held| *held.route == *queue())
        .flat_map(|held| {
            [&left, &right].map(|to| {
                Settlement::held(
                    held.row.position,
                    queue(),
                    Outcome::Moved { to: Arc::clone(to) },
                )
            })
        });
    let held = bench.settle(moves.collect()).await.held;
    let of = |to: &Arc<str>| {
        held_numbers(
            &held
                .iter()
                .filter(|row| row.route == *to)
                .cloned()
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!((of(&left), of(&right)), (vec![1, 2, 3], vec![1, 2]));
    assert!(held.iter().all(|held| held.unroutable_for.is_none()));
    assert_eq!(
        bench.store.counts().await.expect("the store is there").held,
        5
    );
}
