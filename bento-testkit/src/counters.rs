//! What is counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, LocalRecorderGuard, Metadata, Recorder, SharedString, Unit};

/// Counts what is counted on this thread, to be read by the names in `bento_core::telemetry`.
///
/// ```
/// # use bento_testkit::Counters;
/// # use bento_core::telemetry::FORGOTTEN_EVENTS;
/// let counters = Counters::default();
/// let recording = counters.record();
/// // … do something …
/// drop(recording);
/// assert_eq!(counters.get(FORGOTTEN_EVENTS), 0);
/// assert_eq!(counters.get_labelled(FORGOTTEN_EVENTS, "schema", "order.placed"), 0);
/// ```
#[derive(Debug, Default)]
pub struct Counters(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Counters {
    /// Counts until the guard is dropped. A test on several threads counts what its own body does.
    #[must_use = "it counts until this is dropped"]
    pub fn record(&self) -> LocalRecorderGuard<'_> {
        metrics::set_default_local_recorder(self)
    }

    /// What was counted under this name without a label.
    pub fn get(&self, name: &str) -> u64 {
        self.read(name)
    }

    /// What was counted under this name with the one label `label = value`.
    pub fn get_labelled(&self, name: &str, label: &str, value: &str) -> u64 {
        self.read(&format!("{name} {label}={value}"))
    }

    fn read(&self, key: &str) -> u64 {
        self.counters().get(key).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    fn counters(&self) -> MutexGuard<'_, BTreeMap<String, Arc<AtomicU64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = [vec![key.name().to_owned()], labels].concat().join(" ");
        Counter::from_arc(Arc::clone(self.counters().entry(name).or_default()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
