//! The log of the monitor.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bento_relay::inspect::{Monitor, MonitorSettings};
use bento_relay::publish::MemoryPublisher;
use bento_relay::telemetry::{LEASES, RELAYS, UNSERVED_LANES};
use bento_relay::{MemoryStore, Relay, RelayStore};
use bento_testkit::Counters;

use crate::each_time::ask_each_time;

/// The log of this thread.
#[derive(Clone, Debug, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    fn subscribe(&self) -> tracing::subscriber::DefaultGuard {
        ask_each_time();
        let writer = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone());
        tracing::subscriber::set_default(subscriber.finish())
    }

    /// The number of lines with this text.
    fn count(&self, text: &str) -> usize {
        let logged = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        logged.lines().filter(|line| line.contains(text)).count()
    }
}

impl Write for Logged {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The relay gives its first sign of life some time after the monitor has looked for the first
/// time.
#[tokio::test(start_paused = true)]
async fn a_monitor_that_starts_with_its_relay_raises_no_alarm() {
    let (counters, logged) = (Counters::default(), Logged::default());
    let _logging = logged.subscribe();
    let _recording = counters.record();
    let store = MemoryStore::default();
    store.open().await.unwrap();
    let monitor = Monitor::start(store.clone(), MonitorSettings::default());
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(
        counters.gauge_of(UNSERVED_LANES).is_none() && counters.gauge_of(LEASES).is_none(),
        "nothing is known yet"
    );
    let relay = Relay::builder(store, MemoryPublisher::new())
        .start()
        .unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(
        (counters.gauge_of(UNSERVED_LANES), counters.gauge_of(RELAYS)),
        (Some(0.0), Some(1.0))
    );
    assert_eq!(
        counters.gauge(LEASES, "state", "held"),
        Some(16.0),
        "within a second or so"
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(logged.count("no relay serves"), 0);
    relay.stop().await.unwrap();
    monitor.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_without_a_relay_after_the_start_is_an_alarm() {
    let (counters, logged) = (Counters::default(), Logged::default());
    let _logging = logged.subscribe();
    let _recording = counters.record();
    let store = MemoryStore::default();
    store.open().await.unwrap();
    let monitor = Monitor::start(store, MonitorSettings::default());
    tokio::time::sleep(Duration::from_millis(9_900)).await;
    assert_eq!(counters.gauge_of(UNSERVED_LANES), None);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(counters.gauge_of(UNSERVED_LANES), Some(1.0));
    assert_eq!(logged.count("no relay serves lane 0"), 1);
    monitor.stop().await;
}
