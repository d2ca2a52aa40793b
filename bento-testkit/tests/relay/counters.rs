//! The metrics of the relay.

use std::time::Duration;

use bento_relay::Relay;
use bento_relay::publish::{Destination, MemoryPublisher, PublishError, Publishers};
use bento_relay::route::{Router, Rule};
use bento_relay::telemetry::{
    DEAD_EVENTS, DELAYED_EVENTS, END_TO_END_SECONDS, FAILED_PUBLISHES, FILTERED_EVENTS,
    HELD_BACK_EVENTS, LEASE_CHANGES, PUBLISH_SECONDS, PUBLISHED_EVENTS, RETRIED_EVENTS,
    TENANT_EVENTS,
};
use bento_testkit::Counters;

use crate::scene::{Scene, event};

#[tokio::test(start_paused = true)]
async fn events_and_leases_are_counted_by_what_became_of_them() {
    let counters = Counters::default();
    let _recording = counters.record();
    let scene = Scene::divided(4);
    scene.broker.inner().fail(|delivery| {
        match (&*delivery.envelope.aggregate_id, delivery.attempts) {
            ("retried", 0) => Some(PublishError::transient("busy")),
            ("dead", _) => Some(PublishError::permanent("no such topic")),
            _ => None,
        }
    });
    ["fine", "fine", "retried", "dead"]
        .iter()
        .for_each(|id| drop(scene.commit(id)));
    let relay = scene.start();
    scene.wait_for(3).await;
    scene.wait_for_counts(0, 0, 1).await;
    relay.stop().await.unwrap();

    assert_eq!(
        (counters.get(PUBLISHED_EVENTS), counters.get(DEAD_EVENTS)),
        (3, 1)
    );
    assert_eq!(
        counters.get_labelled(PUBLISHED_EVENTS, "destination", Destination::DEFAULT),
        3
    );
    assert_eq!(
        (
            counters.get(RETRIED_EVENTS),
            counters.get_labelled(DEAD_EVENTS, "cause", "permanent")
        ),
        (1, 1)
    );
    assert_eq!(
        counters.observed(END_TO_END_SECONDS),
        3,
        "one for each confirmation"
    );
    assert!(
        (1..=6).contains(&counters.observed(PUBLISH_SECONDS)),
        "one for each batch"
    );
    let failed = |class| counters.get_labelled(FAILED_PUBLISHES, "class", class);
    assert_eq!((failed("transient"), failed("permanent")), (1, 1));
    let leases = |change| counters.get_labelled(LEASE_CHANGES, "change", change);
    assert_eq!(
        (leases("claimed"), leases("released"), leases("lost")),
        (4, 4, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_a_tenants_events_is_counted_under_its_name() {
    let counters = Counters::default();
    let _recording = counters.record();
    let scene = Scene::divided(1);
    scene.broker.inner().fail(|delivery| {
        let is_bad = delivery.envelope.tenant_id.as_deref() == Some("acme")
            && delivery.envelope.aggregate_id == "bad";
        is_bad.then(|| PublishError::permanent("no such topic"))
    });
    for (tenant, aggregate) in [
        ("acme", "bad"),
        ("acme", "bad"),
        ("acme", "good"),
        ("globex", "good-too"),
    ] {
        let mut event = event(aggregate);
        event.tenant_id = Some(tenant.to_owned());
        scene.commit_event(event);
    }
    scene.commit("nobody's");
    let relay = scene.start();
    scene.wait_for(3).await;
    scene.wait_for_counts(0, 1, 1).await;
    relay.stop().await.unwrap();

    let of = |tenant, status| {
        counters.get_with(TENANT_EVENTS, &[("tenant", tenant), ("status", status)])
    };
    assert_eq!(
        [
            of("acme", "published"),
            of("acme", "dead"),
            of("acme", "held")
        ],
        [1, 1, 1]
    );
    assert_eq!([of("globex", "published"), of("globex", "dead")], [1, 0]);
    assert_eq!(
        (counters.get(TENANT_EVENTS), counters.get(HELD_BACK_EVENTS)),
        (4, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_delayed_or_sampled_out_is_counted() {
    let counters = Counters::default();
    let _recording = counters.record();
    let (scene, later, half) = (
        Scene::divided(2),
        MemoryPublisher::new(),
        MemoryPublisher::new(),
    );
    let commit = |schema: &str, number: u32| {
        let mut event = event(&number.to_string());
        (event.event_type, event.occurred_at) = (schema.to_owned().into(), chrono::Utc::now());
        scene.commit_event(event);
    };
    (0..3).for_each(|number| commit("order.paid", number));
    (0..40).for_each(|number| commit("order.seen", number));
    let later_rule = Rule::new("reminders")
        .events(["order.paid"])
        .to(["later"])
        .delay(Duration::from_secs(3600));
    let half_rule = Rule::new("samples")
        .events(["order.seen"])
        .to(["half"])
        .sample(0.5);
    let router = Router::builder()
        .destination(Destination::new("later"))
        .destination(Destination::new("half"));
    let router = router.rule(later_rule).rule(half_rule).build().unwrap();
    let publishers = Publishers::new()
        .with("later", later.clone())
        .with("half", half.clone());
    let relay = Relay::builder(scene.store.clone(), publishers).wake(&scene.wake);
    let relay = relay.router(router).start().unwrap();
    scene.wait_for_counts(0, 3, 0).await;
    relay.stop().await.unwrap();

    let (taken, delayed) = (
        half.published().len() as u64,
        counters.get_labelled(DELAYED_EVENTS, "route", "later"),
    );
    assert_eq!((delayed, later.published().len()), (3, 0));
    assert!((1..40).contains(&taken), "a sample: {taken} of 40");
    assert_eq!(counters.get(FILTERED_EVENTS), 40 - taken);
}
