//! Held rows: who waits, for how long, and in which order they leave.

use std::time::Duration;

use bento_relay::RelayStore;
use bento_relay::dead_letter::DeadLetters;
use bento_relay::inspect::Inspect;
use bento_relay::publish::Destination;
use bento_relay::store::{Advance, OutboxRow, Outcome, RelayId, Settlement, StreamKey};

use super::StoreHarness;
use super::bench::{
    Bench, LONG, beat, call, default_route, died, event, failed, failure, follows, heartbeat,
    held_failed, held_numbers, held_published, number_of, numbers, sharding, unordered_event,
};

/// A row that failed waits as long as it was told to, by the clock of the store, and comes back
/// with its attempts.
pub async fn a_failed_row_waits_by_the_clock_of_the_store<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending([event("a", 1), event("b", 2)]).await;
    let waiting = bench
        .settle(vec![
            failed(&rows[0], LONG),
            failed(&rows[1], harness.short()),
        ])
        .await;
    assert_eq!(waiting.pending, [], "what is held is not pending");
    harness.pass(harness.short() * 2).await;
    let due = bench.next().await.held;
    assert_eq!(held_numbers(&due), [2]);
    assert_eq!((due[0].attempts, &due[0].row), (1, &rows[1]));
}

/// Heads come in the order in which they fell due, so that none keeps another one waiting by its
/// position.
pub async fn the_head_that_was_due_first_comes_first<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([event("a", 1), event("b", 2), event("c", 3)])
        .await;
    let later = [
        failed(&rows[0], harness.short()),
        failed(&rows[1], harness.short() / 2),
    ];
    bench
        .settle(
            later
                .into_iter()
                .chain([failed(&rows[2], Duration::ZERO)])
                .collect(),
        )
        .await;
    harness.pass(harness.short() * 2).await;
    assert_eq!(held_numbers(&bench.next().await.held), [3, 2, 1]);
}

/// With a due head come its followers, in position order, whenever they were held.
pub async fn followers_come_behind_their_head_in_position_order<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([
            event("a", 1),
            event("b", 2),
            event("a", 3),
            event("b", 4),
            event("a", 5),
        ])
        .await;
    let mut settled = vec![
        follows(&rows[4]),
        failed(&rows[1], Duration::ZERO),
        failed(&rows[0], Duration::ZERO),
    ];
    settled.extend([follows(&rows[3]), follows(&rows[2])]);
    let held = bench.settle(settled).await.held;
    let of = |id: &str| {
        numbers(
            held.iter()
                .map(|held| &held.row)
                .filter(|row| row.envelope.aggregate_id == id),
        )
    };
    assert_eq!((of("a"), of("b")), (vec![1, 3, 5], vec![2, 4]));
}

/// A head that waits holds back followers that would not wait themselves, of its own stream only.
pub async fn a_waiting_head_holds_back_its_followers<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([event("a", 1), event("a", 2), event("b", 3)])
        .await;
    let settled = vec![
        failed(&rows[0], LONG),
        follows(&rows[1]),
        failed(&rows[2], Duration::ZERO),
    ];
    assert_eq!(held_numbers(&bench.settle(settled).await.held), [3]);
    bench.append([event("a", 4), event("c", 5)]).await;
    assert_eq!(
        numbers(&bench.next().await.pending),
        [4, 5],
        "a store does not hold back by itself"
    );
}

/// The next row is the head, and due, when the head is confirmed.
pub async fn a_confirmed_head_makes_way_for_its_follower<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending((1..=3).map(|number| event("a", number)))
        .await;
    let settled = vec![
        failed(&rows[0], Duration::ZERO),
        follows(&rows[1]),
        follows(&rows[2]),
    ];
    let held = bench.settle(settled).await.held;
    let rest = bench.settle(vec![held_published(&held[0])]).await;
    assert_eq!(held_numbers(&rest.held), [2, 3]);
    assert_eq!(rest.held[0].attempts, 0, "a follower was never tried");
    let none = bench
        .settle(rest.held.iter().map(held_published).collect())
        .await;
    assert_eq!(
        (none.held, none.streams),
        (vec![], Some(vec![])),
        "the stream is free again"
    );
}

/// A head that fails again waits again, and remembers how often it was tried.
pub async fn a_head_that_fails_again_waits_again_with_its_attempts<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending([event("a", 1), event("a", 2)]).await;
    let held = bench
        .settle(vec![failed(&rows[0], Duration::ZERO), follows(&rows[1])])
        .await
        .held;
    let waiting = bench
        .settle(vec![held_failed(&held[0], 2, harness.short())])
        .await;
    assert_eq!(waiting.streams.expect("asked for").len(), 1);
    harness.pass(harness.short() * 2).await;
    let due = bench.next().await.held;
    assert_eq!(
        (held_numbers(&due), due[0].attempts, due[1].attempts),
        (vec![1, 2], 2, 0)
    );
}

/// The streams that are held or parked are listed when the known revision is not the current one.
pub async fn streams_that_wait_are_listed_when_asked_for<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([
            event("a", 1),
            event("b", 2),
            event("c", 3),
            unordered_event(4),
        ])
        .await;
    let mut settled = vec![
        failed(&rows[0], LONG),
        failed(&rows[1], Duration::ZERO),
        failed(&rows[3], LONG),
    ];
    settled.push(died(&rows[2], true));
    let advanced = bench.settle(settled).await;
    let mut streams = advanced.streams.expect("asked for with no revision");
    streams.sort();
    let stream = |id: &str| StreamKey {
        route: default_route(),
        aggregate_type: "thing".to_owned(),
        aggregate_id: id.to_owned(),
    };
    assert_eq!(
        streams,
        [stream("a"), stream("b"), stream("c")],
        "an event without order has no stream"
    );

    let known = bench
        .advance(Advance {
            revision: Some(advanced.revision),
            ..call(bench.lease)
        })
        .await;
    assert_eq!((known.streams, known.revision), (None, advanced.revision));
    let other = bench
        .advance(Advance {
            revision: Some(advanced.revision + 1),
            ..call(bench.lease)
        })
        .await;
    assert_eq!(other.streams.map(|streams| streams.len()), Some(3));
}

/// Events without order do not wait for each other.
pub async fn events_without_order_wait_alone<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending((1..=3).map(unordered_event)).await;
    let settled = vec![
        failed(&rows[0], LONG),
        failed(&rows[1], Duration::ZERO),
        failed(&rows[2], Duration::ZERO),
    ];
    let held = bench.settle(settled).await.held;
    assert_eq!(held_numbers(&held), [2, 3]);
    assert_eq!(
        held_numbers(&bench.settle(vec![held_published(&held[1])]).await.held),
        [2]
    );
}

/// The answer says when the next held row will be due, of those that are not due yet and not
/// parked.
pub async fn the_next_due_row_is_foretold<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([event("a", 1), event("b", 2), event("c", 3), event("d", 4)])
        .await;
    assert_eq!(bench.next().await.next_due, None);
    let settled = vec![
        failed(&rows[0], LONG),
        failed(&rows[1], LONG / 2),
        failed(&rows[2], Duration::ZERO),
    ];
    let next = bench.settle(settled).await.next_due.expect("two wait");
    assert!(next <= LONG / 2 && next > LONG / 4, "{next:?}");
}

/// At most as many held rows come as asked for; fewer means that no follower is missing.
pub async fn fewer_held_rows_than_asked_for_are_all_there_are<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending((1..=4).map(|number| event("a", number)))
        .await;
    let settled = rows.iter().map(|row| {
        if number_is(row, 1) {
            failed(row, Duration::ZERO)
        } else {
            follows(row)
        }
    });
    let all = bench.settle(settled.collect()).await.held;
    assert_eq!(held_numbers(&all), [1, 2, 3, 4]);
    for limit in [1, 2, 4] {
        let some = bench
            .advance(Advance {
                held: limit,
                ..call(bench.lease)
            })
            .await
            .held;
        assert_eq!(some, all[..limit]);
    }
}

/// A row that keeps no place in its stream is its own head: it waits by itself, and no row waits
/// for it.
pub async fn a_row_that_keeps_no_place_holds_nothing_back<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending((1..=5).map(|number| event("a", number)))
        .await;
    let settled = vec![
        without_place(&rows[0], Outcome::Retry(failure(1, LONG))),
        without_place(&rows[1], Outcome::Behind),
        failed(&rows[2], Duration::ZERO),
        without_place(&rows[3], Outcome::Retry(failure(1, Duration::ZERO))),
        follows(&rows[4]),
    ];
    let advanced = bench.settle(settled).await;
    let mut held = advanced.held;
    held.sort_by_key(|held| held.row.position);
    assert_eq!(held_numbers(&held), [2, 3, 4, 5]);
    assert_eq!(
        held.iter().map(|held| held.ordered).collect::<Vec<_>>(),
        [false, true, false, true]
    );
    let only_the_stream = bench.settle(vec![held_failed(&held[1], 2, LONG)]).await;
    assert_eq!(
        held_numbers(&only_the_stream.held).len(),
        2,
        "a head that waits holds back no row without a place"
    );
    assert_eq!(
        only_the_stream.streams.map(|streams| streams.len()),
        Some(1)
    );
    let freed = bench
        .settle(vec![held_published(&held[1]), held_published(&held[3])])
        .await;
    assert_eq!(
        freed.streams,
        Some(vec![]),
        "a row without a place is in no stream"
    );
    assert_eq!(
        bench.store.counts().await.expect("the store is there").held,
        3
    );
}

/// A row that is not to be delivered yet waits by the clock of the store, untried; so do the
/// followers of one that keeps its place.
pub async fn a_delayed_row_waits_by_the_clock_of_the_store<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([event("a", 1), event("b", 2), event("b", 3), event("c", 4)])
        .await;
    let wait = Outcome::Delayed(harness.short());
    let delayed = Settlement {
        outcome: wait.clone(),
        ..failed(&rows[1], LONG)
    };
    let settled = vec![without_place(&rows[0], wait), delayed, follows(&rows[2])];
    let waiting = bench.settle(settled).await;
    assert_eq!(
        (held_numbers(&waiting.held), numbers(&waiting.pending)),
        (vec![], vec![4])
    );
    assert!(
        waiting.next_due.is_some_and(|due| due <= harness.short()),
        "{:?}",
        waiting.next_due
    );
    harness.pass(harness.short() * 2).await;
    let mut due = bench.next().await.held;
    due.sort_by_key(|held| held.row.position);
    assert_eq!(held_numbers(&due), [1, 2, 3]);
    assert!(due.iter().all(|held| held.attempts == 0), "none was tried");
}

/// A row that did not park its aggregate comes back without a place in it, whatever is held there.
pub async fn a_replay_keeps_a_place_only_if_it_parked<H: StoreHarness>(harness: &H) {
    for parks in [true, false] {
        let bench = Bench::new(harness).await;
        let rows = bench.pending([event("a", 1), event("a", 2)]).await;
        bench
            .settle(vec![died(&rows[1], parks), failed(&rows[0], LONG)])
            .await;
        bench
            .store
            .replay(rows[1].envelope.event_id, Destination::DEFAULT)
            .await
            .expect("the store is there");
        let held = bench.next().await.held;
        let expected = if parks { vec![] } else { vec![(2, false)] };
        assert_eq!(
            held.iter()
                .map(|held| (number_of(&held.row.envelope), held.ordered))
                .collect::<Vec<_>>(),
            expected
        );
        let first = Settlement::held(rows[0].position, default_route(), Outcome::Published);
        let rest = bench.settle(vec![first]).await.held;
        assert_eq!(
            rest.iter().map(|held| held.ordered).collect::<Vec<_>>(),
            [parks]
        );
        bench
            .settle(rest.iter().map(held_published).collect())
            .await;
        bench
            .store
            .release(bench.lease.owner)
            .await
            .expect("the store is there");
    }
}

/// The poll finds what another relay has held back while it owned the shard, whatever is remembered
/// of the time before.
pub async fn a_poll_finds_what_another_relay_held_back<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    bench.next().await;
    bench
        .store
        .release(bench.lease.owner)
        .await
        .expect("the store is there");
    let other = harness.store(sharding(1, 1)).await;
    let lease = beat(&other, heartbeat(RelayId::new(), LONG)).await.leases[0];
    bench.append([event("a", 1)]).await;
    let rows = other.advance(call(lease)).await.expect("held").pending;
    let settled = vec![failed(&rows[0], Duration::ZERO)];
    other
        .advance(Advance {
            settled,
            ..call(lease)
        })
        .await
        .expect("held");
    other
        .release(lease.owner)
        .await
        .expect("the store is there");
    beat(&bench.store, heartbeat(RelayId::new(), LONG)).await;
    assert_eq!(
        bench
            .store
            .poll(&[0], &[])
            .await
            .expect("the store is there"),
        [0]
    );
}

fn without_place(row: &OutboxRow, why: Outcome) -> Settlement {
    Settlement::pending(row.position, default_route(), why).ordered(false)
}

fn number_is(row: &OutboxRow, number: u32) -> bool {
    number_of(&row.envelope) == number
}
