//! Held rows: who waits, for how long, and in which order they leave.

use std::sync::Arc;
use std::time::Duration;

use bento_core::inspect::Inspect;
use bento_core::relay::store::{Advance, Held, OutboxRow, Settlement, StreamKey};

use super::StoreHarness;
use super::bench::{
    Bench, LONG, buried, call, default_destination, event, failed, failure, follows, held_failed, held_numbers,
    held_published, number_of, numbers, published, unordered_event,
};

/// A row that failed waits as long as it was told to, by the clock of the store, and comes back with its attempts.
pub async fn a_failed_row_waits_by_the_clock_of_the_store<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.fresh([event("a", 1), event("b", 2)]).await;
    let waiting = bench.settle(vec![failed(&rows[0], LONG), failed(&rows[1], harness.short())]).await;
    assert_eq!(waiting.fresh, [], "what is held is not fresh");
    harness.pass(harness.short() * 2).await;
    let due = bench.next().await.held;
    assert_eq!(held_numbers(&due), [2]);
    assert_eq!((due[0].attempts, &due[0].row), (1, &rows[1]));
}

/// With a due head come its followers, in position order, whenever they were held.
pub async fn followers_come_behind_their_head_in_position_order<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.fresh([event("a", 1), event("b", 2), event("a", 3), event("b", 4), event("a", 5)]).await;
    let mut settled = vec![follows(&rows[4]), failed(&rows[1], Duration::ZERO), failed(&rows[0], Duration::ZERO)];
    settled.extend([follows(&rows[3]), follows(&rows[2])]);
    let held = bench.settle(settled).await.held;
    let of = |id: &str| numbers(held.iter().map(|held| &held.row).filter(|row| row.envelope.aggregate_id == id));
    assert_eq!((of("a"), of("b")), (vec![1, 3, 5], vec![2, 4]));
}

/// A head that waits holds back followers that would not wait themselves, of its own stream only.
pub async fn a_waiting_head_holds_back_its_followers<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.fresh([event("a", 1), event("a", 2), event("b", 3)]).await;
    let settled = vec![failed(&rows[0], LONG), follows(&rows[1]), failed(&rows[2], Duration::ZERO)];
    assert_eq!(held_numbers(&bench.settle(settled).await.held), [3]);
    bench.append([event("a", 4), event("c", 5)]).await;
    assert_eq!(numbers(&bench.next().await.fresh), [4, 5], "a store does not hold back by itself");
}

/// When the head is confirmed, the next one is the head and due.
pub async fn a_confirmed_head_makes_way_for_its_follower<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.fresh((1..=3).map(|number| event("a", number))).await;
    let settled = vec![failed(&rows[0], Duration::ZERO), follows(&rows[1]), follows(&rows[2])];
    let held = bench.settle(settled).await.held;
    let rest = bench.settle(vec![held_published(&held[0])]).await;
    assert_eq!(held_numbers(&rest.held), [2, 3]);
    assert_eq!(rest.held[0].attempts, 0, "a follower was never tried");
    let none = bench.settle(rest.held.iter().map(held_published).collect()).await;
    assert_eq!((none.held, none.streams), (vec![], Some(vec![])), "the stream is free again");
}

/// A head that fails again waits again, and remembers how often it was tried.
pub async fn a_head_that_fails_again_waits_again_with_its_attempts<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.fresh([event("a", 1), event("a", 2)]).await;
    let held = bench.settle(vec![failed(&rows[0], Duration::ZERO), follows(&rows[1])]).await.held;
    let waiting = bench.settle(vec![held_failed(&held[0], 2, harness.short())]).await;
    assert_eq!(waiting.streams.expect("asked for").len(), 1);
    harness.pass(harness.short() * 2).await;
    let due = bench.next().await.held;
    assert_eq!((held_numbers(&due), due[0].attempts, due[1].attempts), (vec![1, 2], 2, 0));
}

/// The streams that are held or parked are listed when the known revision is not the current one.
pub async fn streams_that_wait_are_listed_when_asked_for<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.fresh([event("a", 1), event("b", 2), event("c", 3), unordered_event(4)]).await;
    let mut settled = vec![failed(&rows[0], LONG), failed(&rows[1], Duration::ZERO), failed(&rows[3], LONG)];
    settled.push(buried(&rows[2], true));
    let advanced = bench.settle(settled).await;
    let mut streams = advanced.streams.expect("asked for with no revision");
    streams.sort();
    let stream = |id: &str| StreamKey {
        destination: default_destination(),
        aggregate_type: "thing".to_owned(),
        aggregate_id: id.to_owned(),
    };
    assert_eq!(streams, [stream("a"), stream("b"), stream("c")], "an event without order has no stream");

    let known = bench.advance(Advance { revision: Some(advanced.revision), ..call(bench.lease) }).await;
    assert_eq!((known.streams, known.revision), (None, advanced.revision));
    let other = bench.advance(Advance { revision: Some(advanced.revision + 1), ..call(bench.lease) }).await;
    assert_eq!(other.streams.map(|streams| streams.len()), Some(3));
}

/// Events without order do not wait for each other.
pub async fn events_without_order_wait_alone<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.fresh((1..=3).map(unordered_event)).await;
    let settled = vec![failed(&rows[0], LONG), failed(&rows[1], Duration::ZERO), failed(&rows[2], Duration::ZERO)];
    let held = bench.settle(settled).await.held;
    assert_eq!(held_numbers(&held), [2, 3]);
    assert_eq!(held_numbers(&bench.settle(vec![held_published(&held[1])]).await.held), [2]);
}

/// The answer says when the next held row will be due, of those that are not due yet and not parked.
pub async fn the_next_due_row_is_foretold<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.fresh([event("a", 1), event("b", 2), event("c", 3), event("d", 4)]).await;
    assert_eq!(bench.next().await.next_due, None);
    let settled = vec![failed(&rows[0], LONG), failed(&rows[1], LONG / 2), failed(&rows[2], Duration::ZERO)];
    let next = bench.settle(settled).await.next_due.expect("two wait");
    assert!(next <= LONG / 2 && next > LONG / 4, "{next:?}");
}

/// At most as many held rows come as asked for; fewer means that no follower is missing.
pub async fn fewer_held_rows_than_asked_for_are_all_there_are<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.fresh((1..=4).map(|number| event("a", number))).await;
    let settled = rows.iter().map(|row| if number_is(row, 1) { failed(row, Duration::ZERO) } else { follows(row) });
    let all = bench.settle(settled.collect()).await.held;
    assert_eq!(held_numbers(&all), [1, 2, 3, 4]);
    for limit in [1, 2, 4] {
        let some = bench.advance(Advance { held: limit, ..call(bench.lease) }).await.held;
        assert_eq!(some, all[..limit]);
    }
}

/// One row may wait for one destination and be done or waiting for another; each goes its own way.
pub async fn destinations_hold_independently<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let row = bench.fresh([event("a", 1)]).await.remove(0);
    let hold = |destination: &str, retry_after| Settlement::Hold {
        position: row.position,
        destination: Arc::from(destination),
        ordered: true,
        why: Held::Failed(failure(1, retry_after)),
    };
    let both = bench.settle(vec![hold("left", LONG), hold("right", Duration::ZERO), published(&row)]).await;
    assert_eq!(both.fresh, [], "the last settlement deletes the fresh row");
    assert_eq!(both.held.len(), 1);
    assert_eq!(&*both.held[0].destination, "right");
    assert_eq!(both.streams.expect("asked for").len(), 2);
    let rest = bench.settle(vec![held_published(&both.held[0])]).await;
    let streams = rest.streams.expect("asked for");
    assert_eq!(streams.iter().map(|stream| &*stream.destination).collect::<Vec<_>>(), ["left"]);
    assert_eq!(bench.store.counts().await.expect("the store is there").held, 1);
}

fn number_is(row: &OutboxRow, number: u32) -> bool {
    number_of(&row.envelope) == number
}
