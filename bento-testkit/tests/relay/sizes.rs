//! Batches are bounded in rows and in bytes, and shrink while the store does not answer in time.

use bento_core::outbox::OutboxEntry;
use bento_testkit::Outage;

use crate::scene::{PATIENCE, Scene, event};

const ROW: usize = 10_000;

/// Commits events of one shard, each of an aggregate of its own.
fn commit_large(scene: &Scene, count: usize) {
    let entries = (0..count).map(|number| {
        let mut envelope = event(&number.to_string());
        envelope.payload = "x".repeat(ROW).into();
        OutboxEntry {
            shard: 0,
            may_be_known: false,
            envelope,
        }
    });
    scene.store.append(entries);
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_large_events_stays_below_its_bytes() {
    let scene = Scene::divided(1);
    commit_large(&scene, 300);
    let (store, relay) = scene.flaky_relay();
    let relay = relay.batch_bytes(10 * ROW).start().unwrap();
    scene.wait_for(300).await;
    relay.stop().await.unwrap();
    let asked: Vec<_> = store.asked().into_iter().filter(|&rows| rows > 0).collect();
    assert_eq!(asked[0], 16, "the first batch of a shard is small");
    assert!(asked[1..].iter().all(|&rows| rows == 10), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_grows_to_the_rows_that_are_wanted() {
    let scene = Scene::divided(1);
    commit_large(&scene, 600);
    let (store, relay) = scene.flaky_relay();
    let relay = relay.batch_bytes(usize::MAX).start().unwrap();
    scene.wait_for(600).await;
    relay.stop().await.unwrap();
    assert_eq!(store.asked()[..6], [16, 32, 64, 128, 256, 512]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_stays_at_200_rows_while_the_broker_is_slow() {
    let scene = Scene::divided(1);
    scene.commit_many(1200, 1200);
    scene
        .broker
        .inner()
        .answer_after(std::time::Duration::from_millis(150));
    let (store, relay) = scene.flaky_relay();
    let relay = relay.start().unwrap();
    scene.wait_for(1200).await;
    relay.stop().await.unwrap();
    let asked: Vec<_> = store.asked().into_iter().filter(|&rows| rows > 0).collect();
    assert_eq!(asked[..8], [16, 32, 64, 128, 200, 200, 200, 200]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_answered_in_time_asks_for_less_until_it_is() {
    let scene = Scene::divided(1);
    let (store, relay) = scene.flaky_relay();
    let relay = relay.start().unwrap();
    scene.commit("first");
    scene.wait_for(1).await;
    commit_large(&scene, 100);
    store.set(Outage::Hangs);
    let smaller = async {
        while !store.asked().ends_with(&[16, 8, 4, 2, 1, 1]) {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            scene.wake.wake(&[0]);
        }
    };
    tokio::time::timeout(PATIENCE, smaller)
        .await
        .unwrap_or_else(|_| panic!("{:?}", store.asked()));
    store.set(Outage::None);
    scene.wait_for(101).await;
    relay.stop().await.unwrap();
    let asked: Vec<_> = store.asked().into_iter().filter(|&rows| rows > 0).collect();
    let last_single = asked.iter().rposition(|&rows| rows == 1).unwrap();
    assert_eq!(asked[last_single..][..3], [1, 2, 4], "{asked:?}");
}
