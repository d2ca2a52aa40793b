//! What the relay counts.

use bento_core::publish::{Destination, PublishError};
use bento_core::telemetry::{
    DEAD_EVENTS, END_TO_END_SECONDS, FAILED_PUBLISHES, LEASE_CHANGES, PUBLISH_SECONDS, PUBLISHED_EVENTS, RETRIED_EVENTS,
};
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
    assert_eq!(counters.get_labelled(PUBLISHED_EVENTS, "destination", Destination::DEFAULT), 3);
    assert_eq!((counters.get(RETRIED_EVENTS), counters.get_labelled(DEAD_EVENTS, "cause", "permanent")), (1, 1));
    assert_eq!(counters.observed(END_TO_END_SECONDS), 3, "one for each confirmation");
    assert!((1..=6).contains(&counters.observed(PUBLISH_SECONDS)), "one for each batch");
    let failed = |class| counters.get_labelled(FAILED_PUBLISHES, "class", class);
    assert_eq!((failed("transient"), failed("permanent")), (1, 1));
    let leases = |change| counters.get_labelled(LEASE_CHANGES, "change", change);
    assert_eq!((leases("claimed"), leases("released"), leases("lost")), (4, 4, 0));
}
