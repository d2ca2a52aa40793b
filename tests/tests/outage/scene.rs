//! An application, its relay, and a broker that goes away.

use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bento_core::EventId;
use bento_relay::publish::Destination;
use bento_relay::route::Router;
use bento_relay::telemetry::{CIRCUIT_CHANGES, CIRCUIT_OPEN, DEAD_EVENTS, PUBLISHED_EVENTS};
use bento_relay::{Relay, RelaySettings, Wake};
use bento_seaorm::{OutboxConnection, OutboxStore};
use bento_testkit::publisher::{Mode, PublisherHarness, Received};
use bento_testkit::{Account, Counters};
use sea_orm::DbBackend;
use uuid::Uuid;

use crate::load::Load;
use crate::support::{TestDatabase, in_database};

/// Longer than any step takes: a circuit is tried half a minute after the last time at the latest.
const LIMIT: Duration = Duration::from_secs(180);
/// The number of events that are confirmed before the outage, and of those after it while events
/// are still committed.
const SOME: u64 = 500;

/// The metrics of every relay of this process; the destinations keep them apart.
static COUNTERS: LazyLock<&'static Counters> = LazyLock::new(|| {
    let counters: &Counters = Box::leak(Box::default());
    metrics::set_global_recorder(counters).expect("nobody else counts");
    counters
});

/// Plays the outage; without a broker it says so and returns.
pub async fn outage<H: PublisherHarness>(broker: &'static str, harness: Option<H>) {
    let Some(harness) = harness else {
        eprintln!("skipped: there is no {broker} that may be stopped");
        return;
    };
    let has_postgres = crate::servers::url("BENTO_TEST_POSTGRES_URL").is_some();
    let backend = if has_postgres {
        DbBackend::Postgres
    } else {
        DbBackend::Sqlite
    };
    in_database(backend, async |database| {
        Scene {
            broker,
            harness,
            database,
        }
        .play()
        .await
    })
    .await;
}

struct Scene<'a, H> {
    broker: &'static str,
    harness: H,
    database: &'a TestDatabase,
}

impl<H: PublisherHarness> Scene<'_, H> {
    async fn play(&self) {
        LazyLock::force(&COUNTERS);
        let wake = Wake::new();
        let outbox = OutboxConnection::builder(self.database.connect(2).await)
            .wake(&wake)
            .build();
        let router = Router::to(Destination::new(self.broker).with_topic(self.harness.topic()));
        let store = OutboxStore::new(self.database.connect(5).await);
        let publisher = self.harness.publisher(Mode::Binary).await;
        let relay = Relay::builder(store, publisher)
            .router(router)
            .wake(&wake)
            .start()
            .unwrap();

        let load = Load::start(outbox);
        self.until("events are published", || self.published() >= SOME)
            .await;
        let found_after = self.go_away().await;
        let published = self.published();
        self.until("more events are published", || {
            self.published() >= published + SOME
        })
        .await;
        let (ledger, committed) = load.stop().await;
        self.drained().await;
        relay.stop().await.unwrap();

        let received = self.harness.received(committed).await;
        received
            .iter()
            .for_each(|received| ledger.deliver(event_id(received)));
        let account = ledger.check();
        self.tell(&account, found_after);
        self.assert_promise(&account).await;
    }

    /// The broker stops, and is started again when its time is over. Returns how long after that it
    /// was found.
    async fn go_away(&self) -> Duration {
        let seconds = std::env::var("BENTO_OUTAGE_SECONDS")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(30);
        let stopped = Instant::now();
        self.harness.stop().await;
        self.until("the circuit opens", || self.changes("opened") > 0)
            .await;
        assert_eq!(
            COUNTERS.gauge(CIRCUIT_OPEN, "destination", self.broker),
            Some(1.0)
        );
        tokio::time::sleep(Duration::from_secs(seconds).saturating_sub(stopped.elapsed())).await;
        assert_eq!(
            self.changes("closed"),
            0,
            "it stays open while the broker is away"
        );
        self.harness.start().await;
        let started = Instant::now();
        self.until("the circuit closes", || self.changes("closed") > 0)
            .await;
        started.elapsed()
    }

    async fn assert_promise(&self, account: &Account) {
        account.assert_nothing_lost_and_in_order();
        let settings = RelaySettings::default();
        let in_flight = settings.batch * settings.workers;
        assert!(
            account.duplicates <= in_flight,
            "{} duplicates of {in_flight} in flight",
            account.duplicates
        );
        assert!(
            self.changes("half_open") > 0,
            "the circuit closes by a trial"
        );
        assert_eq!(
            COUNTERS.gauge(CIRCUIT_OPEN, "destination", self.broker),
            Some(0.0)
        );
        assert_eq!(COUNTERS.get_labelled(DEAD_EVENTS, "route", self.broker), 0);
        assert_eq!(
            self.database
                .number("SELECT count(*) FROM bento_dead_letter")
                .await,
            0
        );
    }

    fn published(&self) -> u64 {
        COUNTERS.get_labelled(PUBLISHED_EVENTS, "destination", self.broker)
    }

    fn changes(&self, change: &str) -> u64 {
        COUNTERS.get_with(
            CIRCUIT_CHANGES,
            &[("destination", self.broker), ("change", change)],
        )
    }

    async fn drained(&self) {
        let drained = async {
            while self
                .database
                .number("SELECT count(*) FROM bento_outbox_status")
                .await
                > 0
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(LIMIT, drained)
            .await
            .expect("everything is published in time");
    }

    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(
                begun.elapsed() < LIMIT,
                "{}: waited in vain until {what}",
                self.broker
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn tell(&self, account: &Account, found_after: Duration) {
        let [opened, half_open, closed] =
            ["opened", "half_open", "closed"].map(|change| self.changes(change));
        let counts = format!(
            "{account}; circuit opened {opened}, half open {half_open}, closed {closed} times; \
             found {} ms after it was back\n",
            found_after.as_millis()
        );
        print!("{}: {counts}", self.broker);
        let file =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("outage-{}.txt", self.broker));
        std::fs::write(file, counts).expect("cargo's directory for tests can be written");
    }
}

/// The payload names its event.
fn event_id(received: &Received) -> EventId {
    let payload: serde_json::Value = serde_json::from_slice(&received.body).unwrap();
    EventId::from(Uuid::parse_str(payload["token"].as_str().unwrap()).unwrap())
}
