//! The state of the outbox as metrics.

use std::time::Duration;

use bento_core::outbox::Sharding;
use bento_relay::inspect::{Monitor, MonitorSettings};
use bento_relay::publish::MemoryPublisher;
use bento_relay::store::{Heartbeat, RelayId};
use bento_relay::telemetry::{BACKLOG, LEASES, OLDEST_PENDING, RELAYS, UNSERVED_LANES};
use bento_relay::{MemoryStore, Relay, RelayStore};
use bento_testkit::Counters;
use chrono::TimeDelta;

use crate::scene::{append, event};

#[tokio::test(start_paused = true)]
async fn gauges_follow_the_outbox_and_vanish_to_zero() {
    let counters = Counters::default();
    let _recording = counters.record();
    let store = MemoryStore::default();
    let mut waiting = event("acme", "thing.happened", 1, "{}");
    waiting.occurred_at -= TimeDelta::minutes(10);
    append(&store, [waiting]);
    let monitor = Monitor::start(store.clone(), MonitorSettings::default());
    let a_round = Duration::from_secs(20);
    tokio::time::sleep(a_round).await;
    assert_eq!(counters.gauge(BACKLOG, "status", "pending"), Some(1.0));
    assert!(counters.gauge(OLDEST_PENDING, "tenant", "acme").unwrap() > 590.0);
    Relay::builder(store, MemoryPublisher::new())
        .run_until_empty()
        .await
        .unwrap();
    tokio::time::sleep(a_round).await;
    assert_eq!(
        counters.gauge(BACKLOG, "status", "pending"),
        Some(0.0),
        "its series is set to 0"
    );
    assert_eq!(counters.gauge(OLDEST_PENDING, "tenant", "acme"), Some(0.0));
    assert_eq!(
        counters.gauge(LEASES, "state", "free"),
        Some(16.0),
        "the relay is gone"
    );
    monitor.stop().await;
}

#[tokio::test(start_paused = true)]
async fn lanes_that_nobody_serves_are_counted() {
    let counters = Counters::default();
    let _recording = counters.record();
    let sharding = Sharding {
        lanes: 3.try_into().unwrap(),
        ..Sharding::default()
    };
    let store = MemoryStore::new(sharding);
    store.open().await.unwrap();
    let ttl = Duration::from_secs(600);
    let beat = Heartbeat {
        relay: RelayId::new(),
        ttl,
        lanes: Some(vec![1]),
        claim: true,
        publishes: true,
        handlers: Vec::new(),
        idle: Vec::new(),
    };
    store.heartbeat(beat).await.unwrap();
    let monitor = Monitor::start(store, MonitorSettings::default());
    tokio::time::sleep(MonitorSettings::default().start + Duration::from_secs(1)).await;
    let gauge = |name| f64::from_bits(counters.get(name));
    assert_eq!((gauge(UNSERVED_LANES), gauge(RELAYS)), (2.0, 1.0));
    assert_eq!(counters.gauge(LEASES, "state", "held"), Some(16.0));
    monitor.stop().await;
}

/// A tenant that comes and goes leaves a series at 0, which an exporter may then drop.
#[tokio::test(start_paused = true)]
async fn a_series_that_is_gone_is_set_to_zero_once_and_then_left_alone() {
    let counters = Counters::default();
    let _recording = counters.record();
    let store = MemoryStore::default();
    append(&store, [event("acme", "thing.happened", 1, "{}")]);
    let monitor = Monitor::start(store.clone(), MonitorSettings::default());
    let a_round = Duration::from_secs(20);
    tokio::time::sleep(a_round).await;
    Relay::builder(store, MemoryPublisher::new())
        .run_until_empty()
        .await
        .unwrap();
    tokio::time::sleep(a_round).await;
    assert_eq!(counters.gauge(OLDEST_PENDING, "tenant", "acme"), Some(0.0));
    metrics::gauge!(OLDEST_PENDING, "tenant" => "acme", "route" => "").set(7.0);
    tokio::time::sleep(4 * a_round).await;
    assert_eq!(
        counters.gauge(OLDEST_PENDING, "tenant", "acme"),
        Some(7.0),
        "it has not been set again"
    );
    monitor.stop().await;
}
