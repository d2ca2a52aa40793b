//! Metrics in memory, for tests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, LocalRecorderGuard, Metadata, Recorder,
    SharedString, Unit,
};

/// Counts what is counted on this thread, to be read by the names in `bento_relay::telemetry`.
///
/// ```
/// # use bento_testkit::Counters;
/// # use bento_relay::telemetry::FORGOTTEN_EVENTS;
/// let counters = Counters::default();
/// let recording = counters.record();
/// // … do something …
/// drop(recording);
/// assert_eq!(counters.get(FORGOTTEN_EVENTS), 0);
/// assert_eq!(counters.get_labelled(FORGOTTEN_EVENTS, "event type", "order.placed"), 0);
/// ```
#[derive(Debug, Default)]
pub struct Counters(Mutex<BTreeMap<Key, Arc<AtomicU64>>>);

impl Counters {
    /// Counts until the guard is dropped. A test on several threads counts what its own body does.
    #[must_use = "it counts until this is dropped"]
    pub fn record(&self) -> LocalRecorderGuard<'_> {
        metrics::set_default_local_recorder(self)
    }

    /// The count under this name, whatever its labels.
    pub fn get(&self, name: &str) -> u64 {
        self.read(name, |_| true).sum()
    }

    /// The count under this name with this label among others.
    pub fn get_labelled(&self, name: &str, label: &str, value: &str) -> u64 {
        self.read(name, |key| has_label(key, label, value)).sum()
    }

    /// The count under this name with all of these labels among others.
    ///
    /// ```
    /// # use bento_testkit::Counters;
    /// # use bento_relay::telemetry::CIRCUIT_CHANGES;
    /// let counters = Counters::default();
    /// let labels = [("destination", "nats"), ("change", "opened")];
    /// assert_eq!(counters.get_with(CIRCUIT_CHANGES, &labels), 0);
    /// ```
    pub fn get_with(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.read(name, |key| {
            labels
                .iter()
                .all(|(label, value)| has_label(key, label, value))
        })
        .sum()
    }

    /// The number of values that were observed under the name of this histogram, whatever its
    /// labels.
    pub fn observed(&self, name: &str) -> u64 {
        self.get(name)
    }

    /// The last value of the gauge of this name with this label; `None` if it was never set.
    pub fn gauge(&self, name: &str, label: &str, value: &str) -> Option<f64> {
        self.read(name, |key| has_label(key, label, value))
            .map(f64::from_bits)
            .next()
    }

    /// The last value of the first gauge of this name, whatever its labels; `None` if none was ever
    /// set.
    pub fn gauge_of(&self, name: &str) -> Option<f64> {
        self.read(name, |_| true).map(f64::from_bits).next()
    }

    fn read(&self, name: &str, is_meant: impl Fn(&Key) -> bool) -> impl Iterator<Item = u64> {
        let counters = self.counters();
        let meant = counters
            .iter()
            .filter(|(key, _)| key.name() == name && is_meant(key));
        meant
            .map(|(_, counter)| counter.load(Ordering::Relaxed))
            .collect::<Vec<_>>()
            .into_iter()
    }

    fn register(&self, key: &Key) -> Arc<AtomicU64> {
        Arc::clone(self.counters().entry(key.clone()).or_default())
    }

    fn counters(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<AtomicU64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_label(key: &Key, label: &str, value: &str) -> bool {
    key.labels()
        .any(|found| found.key() == label && found.value() == value)
}

/// Counts the observations of a histogram.
struct Observations(Arc<AtomicU64>);

impl HistogramFn for Observations {
    fn record(&self, _: f64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.register(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.register(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Observations(self.register(key))))
    }
}
