//! Replay and discard of dead letters.

use std::time::Duration;

use bento_relay::dead_letter::{DeadLetters, Replayed};
use bento_relay::publish::Destination;
use bento_relay::store::Advance;

use super::StoreHarness;
use super::bench::{Bench, call, died, event, failed, follows, held_numbers, held_published};
use super::dead_letters::{discard, list, needless, query, replay};

/// A replayed dead letter is due at once, before its held followers, as the event it was, with its
/// attempts counted anew.
pub async fn a_replay_comes_first_with_its_id_and_position<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending((1..=3).map(|number| event("a", number)))
        .await;
    bench
        .settle(vec![
            died(&rows[0], true),
            follows(&rows[1]),
            follows(&rows[2]),
        ])
        .await;
    let replayed = replay(&bench, &rows[0]).await;
    assert_eq!(
        replayed,
        Replayed {
            replayed: true,
            later_ones_out: false
        }
    );
    assert_eq!(list(&bench, query()).await, []);
    let held = bench.next().await.held;
    assert_eq!(held_numbers(&held), [1, 2, 3]);
    assert_eq!((&held[0].row, held[0].attempts), (&rows[0], 0));
    assert_eq!(
        replay(&bench, &rows[0]).await,
        Replayed::default(),
        "it is not a dead letter any more"
    );
}

/// A letter that did not park its aggregate may come behind its successors, and the replay says so.
pub async fn a_replay_that_did_not_park_says_that_later_ones_may_be_out<H: StoreHarness>(
    harness: &H,
) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending([event("a", 1), event("a", 2)]).await;
    let free = bench
        .settle(vec![
            died(&rows[0], false),
            failed(&rows[1], Duration::ZERO),
        ])
        .await;
    assert_eq!(held_numbers(&free.held), [2], "nothing is parked");
    bench.settle(vec![held_published(&free.held[0])]).await;
    assert_eq!(
        replay(&bench, &rows[0]).await,
        Replayed {
            replayed: true,
            later_ones_out: true
        }
    );
    assert_eq!(held_numbers(&bench.next().await.held), [1]);
}

/// A discarded dead letter is gone, and its aggregate goes on without it.
pub async fn a_discard_lets_the_followers_go<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending([event("a", 1), event("a", 2)]).await;
    bench
        .settle(vec![died(&rows[0], true), follows(&rows[1])])
        .await;
    assert!(discard(&bench, &rows[0]).await);
    assert!(!discard(&bench, &rows[0]).await, "it is gone");
    let next = bench.next().await;
    assert_eq!(
        (held_numbers(&next.held), list(&bench, query()).await),
        (vec![2], vec![])
    );
    let free = bench.settle(vec![held_published(&next.held[0])]).await;
    assert_eq!(free.streams, Some(vec![]));
}

/// An aggregate with two dead letters goes on when both are gone.
pub async fn every_dead_letter_that_parks_must_go_first<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending((1..=3).map(|number| event("a", number)))
        .await;
    bench
        .settle(vec![
            died(&rows[0], true),
            died(&rows[1], true),
            follows(&rows[2]),
        ])
        .await;
    discard(&bench, &rows[0]).await;
    assert_eq!(bench.next().await.held, []);
    discard(&bench, &rows[1]).await;
    assert_eq!(held_numbers(&bench.next().await.held), [3]);
}

/// An operator's command changes the revision, so that the relay learns of it; one that found
/// nothing need not.
pub async fn replay_and_discard_change_the_revision<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending([event("a", 1), event("b", 2)]).await;
    let mut known = bench
        .settle(vec![died(&rows[0], true), died(&rows[1], true)])
        .await
        .revision;
    for (row, left) in [(&rows[0], 1), (&rows[1], 0)] {
        discard(&bench, row).await;
        let told = bench
            .advance(Advance {
                revision: Some(known),
                ..call(bench.lease)
            })
            .await;
        assert_eq!(told.streams.map(|streams| streams.len()), Some(left));
        assert_ne!(told.revision, known);
        known = told.revision;
    }
    let rows = bench.pending([event("c", 3)]).await;
    known = bench.settle(vec![died(&rows[0], true)]).await.revision;
    replay(&bench, &rows[0]).await;
    let told = bench
        .advance(Advance {
            revision: Some(known),
            ..call(bench.lease)
        })
        .await;
    assert_eq!(
        (held_numbers(&told.held), told.streams.is_some()),
        (vec![3], true)
    );
}

/// A dead letter belongs to its route.
pub async fn replay_and_discard_need_the_right_route<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let row = bench.pending([event("a", 1)]).await.remove(0);
    bench.settle(vec![died(&row, true)]).await;
    let id = row.envelope.event_id;
    assert_eq!(
        bench
            .store
            .replay(id, "elsewhere")
            .await
            .expect("the store is there"),
        Replayed::default()
    );
    let discard = async |id, route| bench.store.discard(id, route, &needless()).await;
    assert!(!discard(id, "elsewhere").await.expect("the store is there"));
    assert!(
        !discard(bento_core::EventId::new(), Destination::DEFAULT)
            .await
            .expect("the store is there")
    );
    assert_eq!(list(&bench, query()).await.len(), 1);
}
