//! What the relay counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bento_core::publish::PublishError;
use bento_core::telemetry::{DEAD_EVENTS, FAILED_PUBLISHES, LEASE_CHANGES, PUBLISHED_EVENTS};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::scene::Scene;

/// Counters by name and labels.
#[derive(Default)]
struct Counters(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Counters {
    fn get(&self, name: &str) -> u64 {
        self.0.lock().unwrap().get(name).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = [vec![key.name().to_owned()], labels].concat().join(" ");
        Counter::from_arc(Arc::clone(self.0.lock().unwrap().entry(name).or_default()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test(start_paused = true)]
async fn events_and_leases_are_counted_by_what_became_of_them() {
    let counters = Counters::default();
    let _guard = metrics::set_default_local_recorder(&counters);
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

    let count = |name: &str, label: &str| counters.get(format!("{name} {label}").trim());
    assert_eq!((count(PUBLISHED_EVENTS, ""), count(DEAD_EVENTS, "")), (3, 1));
    assert_eq!((count(FAILED_PUBLISHES, "class=transient"), count(FAILED_PUBLISHES, "class=permanent")), (1, 1));
    assert_eq!((count(LEASE_CHANGES, "change=claimed"), count(LEASE_CHANGES, "change=released")), (4, 4));
    assert_eq!(count(LEASE_CHANGES, "change=lost"), 0);
}
