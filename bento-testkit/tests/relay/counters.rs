//! What the relay counts.

use bento_core::publish::PublishError;
use bento_core::telemetry::{DEAD_EVENTS, FAILED_PUBLISHES, LEASE_CHANGES, PUBLISHED_EVENTS};
use bento_testkit::Counters;

use crate::scene::Scene;

#[tokio::test(start_paused = true)]
async fn events_and_leases_are_counted_by_what_became_of_them() {
    let counters = Counters::default();
    let _recording = counters.record();
    let scene = Scene::divided(4);
    scene.broker.inner().fail(|delivery| match (&*delivery.envelope.aggregate_id, delivery.attempts) {
        ("retried", 0) => Some(PublishError::transient("busy")),
        ("dead", _) => Some(PublishError::permanent("no such topic")),
        _ => None,
    });
    ["fine", "fine", "retried", "dead"].iter().for_each(|id| drop(scene.commit(id)));
    let relay = scene.start();
    scene.wait_for(3).await;
    scene.wait_for_counts(0, 0, 1).await;
    relay.stop().await.unwrap();

    assert_eq!((counters.get(PUBLISHED_EVENTS), counters.get(DEAD_EVENTS)), (3, 1));
    let failed = |class| counters.get_labelled(FAILED_PUBLISHES, "class", class);
    assert_eq!((failed("transient"), failed("permanent")), (1, 1));
    let leases = |change| counters.get_labelled(LEASE_CHANGES, "change", change);
    assert_eq!((leases("claimed"), leases("released"), leases("lost")), (4, 4, 0));
}
