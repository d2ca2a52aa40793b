//! A destination that hangs or is slow: it costs the others nothing, and gets everything itself.

use std::time::Duration;

use bento_relay::held::{HeldEvents, HeldFilter};
use bento_relay::publish::PublishError;
use bento_relay::route::Rule;
use bento_relay::telemetry::LATE_WAVES;
use bento_testkit::{Counters, FlakyStore, Outage};

use crate::destinations::{Pair, both};
use crate::scene::settle;

/// A few times the patience of a batch, for as many batches as a test has in each shard.
const SOON: Duration = Duration::from_secs(2);

/// More than are ever late, so that some wait for nothing but their destination.
const AGGREGATES: u32 = 500;

/// Commits, and asserts that the right one has everything soon.
async fn right_is_not_delayed(pair: &Pair, committed: &mut usize, more: u32) {
    pair.commit_more(u32::try_from(*committed).unwrap(), AGGREGATES, more);
    *committed += more as usize;
    let all = pair.right.wait_for(*committed);
    tokio::time::timeout(SOON, all)
        .await
        .expect("the other destination does not delay it");
}

#[tokio::test(start_paused = true)]
async fn a_hanging_destination_delays_no_other_and_loses_nothing() {
    let counters = Counters::default();
    let _recording = counters.record();
    let pair = Pair::new();
    pair.left.block();
    let relay = pair.relay(both(|rule| rule)).batch(20).start().unwrap();
    let mut committed = 0;
    for _ in 0..10 {
        right_is_not_delayed(&pair, &mut committed, 200).await;
    }
    let during = pair.scene.counts().await;
    assert_eq!(
        (during.pending, during.held, during.dead),
        (0, committed as u64, 0),
        "held, and nothing else"
    );
    assert_eq!(
        counters.get_labelled(LATE_WAVES, "destination", "left"),
        2,
        "one for each shard, and no more is sent"
    );
    pair.left.unblock();
    pair.wait_for(committed, committed).await;
    pair.scene.wait_for_counts(0, 0, 0).await;
    relay.stop().await.unwrap();
    pair.assert_exact(&pair.left);
    pair.assert_exact(&pair.right);
}

#[tokio::test(start_paused = true)]
async fn a_silent_destination_is_unavailable_and_delays_no_other() {
    let pair = Pair::new();
    pair.left.block();
    let relay = pair.relay(both(|rule| rule)).batch(20).start().unwrap();
    let mut committed = 0;
    for _ in 0..60 {
        right_is_not_delayed(&pair, &mut committed, 20).await;
        tokio::time::sleep(Duration::from_secs(7)).await;
    }
    assert_eq!(relay.health().degraded.len(), 1, "its circuit is open");
    assert_eq!(pair.scene.counts().await.dead, 0);
    pair.left.unblock();
    pair.wait_for(committed, committed).await;
    pair.scene.wait_for_counts(0, 0, 0).await;
    relay.stop().await.unwrap();
    pair.assert_exact(&pair.left);
    pair.assert_exact(&pair.right);
}

#[tokio::test(start_paused = true)]
async fn a_slow_destination_delays_no_other_and_keeps_its_order() {
    let pair = Pair::new();
    pair.left.answer_after(Duration::from_millis(800));
    let relay = pair.relay(both(|rule| rule)).batch(20).start().unwrap();
    let mut committed = 0;
    for _ in 0..10 {
        right_is_not_delayed(&pair, &mut committed, 100).await;
    }
    pair.wait_for(committed, committed).await;
    pair.scene.wait_for_counts(0, 0, 0).await;
    relay.stop().await.unwrap();
    pair.assert_exact(&pair.left);
    pair.assert_exact(&pair.right);
}

#[tokio::test(start_paused = true)]
async fn a_returned_destination_gets_its_held_events_in_every_shard() {
    let pair = Pair::new();
    let seldom = Duration::from_secs(1_000_000);
    let relay = pair
        .relay(both(|rule| rule))
        .poll(seldom, seldom)
        .start()
        .unwrap();
    settle().await;
    pair.left.block();
    pair.commit_many(20, 200);
    pair.right.wait_for(200).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    pair.left.unblock();
    tokio::time::timeout(SOON, pair.left.wait_for(200))
        .await
        .expect("it does not wait for a poll");
    relay.stop().await.unwrap();
    pair.assert_exact(&pair.left);
}

#[tokio::test(start_paused = true)]
async fn all_or_nothing_passes_a_hanging_destination_without_repeats() {
    let pair = Pair::new();
    pair.left.block();
    pair.commit_many(20, 20);
    let relay = pair.relay(both(Rule::all_or_nothing)).start().unwrap();
    tokio::time::timeout(SOON, pair.right.wait_for(20))
        .await
        .expect("it is not held up");
    tokio::time::sleep(SOON).await;
    pair.left.unblock();
    pair.commit_more(20, 20, 20);
    pair.wait_for(40, 40).await;
    pair.scene.wait_for_counts(0, 0, 0).await;
    relay.stop().await.unwrap();
    pair.assert_exact(&pair.left);
    pair.assert_exact(&pair.right);
}

#[tokio::test(start_paused = true)]
async fn what_fails_late_is_tried_again() {
    let pair = Pair::new();
    pair.left.answer_after(Duration::from_secs(1));
    pair.left
        .fail(|delivery| (delivery.attempts < 2).then(|| PublishError::transient("busy")));
    pair.commit_many(3, 6);
    let relay = pair
        .relay(both(|rule| rule))
        .failure_threshold(1000)
        .start()
        .unwrap();
    pair.wait_for(6, 6).await;
    pair.scene.wait_for_counts(0, 0, 0).await;
    relay.stop().await.unwrap();
    pair.assert_exact(&pair.left);
    pair.assert_exact(&pair.right);
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_what_is_late_and_records_it() {
    let pair = Pair::new();
    pair.left.answer_after(Duration::from_secs(5));
    pair.commit_many(20, 40);
    let relay = pair.relay(both(|rule| rule)).start().unwrap();
    pair.right.wait_for(40).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let sent = pair.left.published().len();
    assert!(sent > 0 && pair.scene.counts().await.held == 40);
    relay.stop().await.unwrap();
    assert_eq!(pair.scene.counts().await.held, 40 - sent as u64);
    let relay = pair.relay(both(|rule| rule)).start().unwrap();
    pair.wait_for(40, 40).await;
    pair.scene.wait_for_counts(0, 0, 0).await;
    relay.stop().await.unwrap();
    pair.assert_exact(&pair.left);
}

#[tokio::test(start_paused = true)]
async fn a_stopping_relay_keeps_its_shards_until_late_answers_are_in() {
    let pair = Pair::new();
    let lease = Duration::from_secs(3);
    pair.left.answer_after(lease * 3);
    pair.commit_many(20, 40);
    let first = pair.relay(both(|rule| rule)).lease(lease).start().unwrap();
    pair.right.wait_for(40).await;
    let second = pair.relay(both(|rule| rule)).lease(lease).start().unwrap();
    first.stop().await.unwrap();
    pair.scene.wait_for_counts(0, 0, 0).await;
    second.stop().await.unwrap();
    pair.assert_exact(&pair.left);
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_stops_before_the_answer_loses_nothing() {
    let pair = Pair::new();
    pair.left.answer_after(Duration::from_secs(20));
    pair.commit_many(20, 40);
    let relay = pair
        .relay(both(|rule| rule))
        .drain_timeout(Duration::from_secs(1))
        .start()
        .unwrap();
    pair.right.wait_for(40).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let sent = pair.left.published().len();
    relay.stop().await.unwrap();
    pair.left.answer_after(Duration::ZERO);
    let relay = pair.relay(both(|rule| rule)).start().unwrap();
    pair.scene.wait_for_counts(0, 0, 0).await;
    relay.stop().await.unwrap();
    let account = pair.account(&pair.left);
    account.assert_nothing_lost_and_in_order();
    assert_eq!(account.duplicates, sent, "what was on its way, once more");
    pair.assert_exact(&pair.right);
}

#[tokio::test(start_paused = true)]
async fn a_relay_without_its_lease_leaves_late_events_to_the_next() {
    let pair = Pair::new();
    pair.left.answer_after(Duration::from_secs(20));
    pair.commit_many(20, 40);
    let store = FlakyStore::new(pair.scene.store.clone());
    let zombie = pair
        .relay_on(store.clone(), both(|rule| rule))
        .start()
        .unwrap();
    pair.right.wait_for(40).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    store.set(Outage::Hangs);
    let survivor = pair.relay(both(|rule| rule)).start().unwrap();
    pair.scene.wait_for_counts(0, 0, 0).await;
    store.set(Outage::None);
    tokio::time::sleep(Duration::from_secs(60)).await;
    zombie.stop().await.unwrap();
    survivor.stop().await.unwrap();
    pair.account(&pair.left).assert_nothing_lost_and_in_order();
    pair.assert_exact(&pair.right);
}

#[tokio::test(start_paused = true)]
async fn a_hand_over_while_a_destination_is_slow_makes_no_duplicates() {
    let pair = Pair::new();
    pair.left.answer_after(Duration::from_secs(2));
    let mut relays = vec![pair.relay(both(|rule| rule)).start().unwrap()];
    for round in 0..20 {
        pair.commit_more(round * 20, 10, 20);
        match round {
            3 | 7 => relays.push(pair.relay(both(|rule| rule)).start().unwrap()),
            11 | 15 => relays.remove(0).stop().await.unwrap(),
            _ => tokio::time::sleep(Duration::from_secs(3)).await,
        }
    }
    pair.wait_for(400, 400).await;
    pair.scene.wait_for_counts(0, 0, 0).await;
    for relay in relays {
        relay.stop().await.unwrap();
    }
    pair.assert_exact(&pair.left);
    pair.assert_exact(&pair.right);
}

/// An event that is still being sent is not sent again, however its wait ends.
#[tokio::test(start_paused = true)]
async fn ending_the_wait_of_a_late_event_sends_nothing_twice() {
    for change in [|rule: Rule| rule, Rule::all_or_nothing] {
        let pair = Pair::new();
        pair.left.block();
        let relay = pair.relay(both(change)).start().unwrap();
        pair.commit_many(4, 40);
        pair.right.wait_for(4).await;
        settle().await;
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            pair.scene
                .store
                .retry_now(&HeldFilter::default())
                .await
                .unwrap();
        }
        pair.left.unblock();
        pair.wait_for(40, 40).await;
        pair.scene.wait_for_counts(0, 0, 0).await;
        relay.stop().await.unwrap();
        pair.assert_exact(&pair.left);
        pair.assert_exact(&pair.right);
    }
}
