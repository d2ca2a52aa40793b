//! A database, its outbox, and brokers by name.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bento_core::{EventId, Metadata};
use bento_relay::publish::{Destination, Publishers};
use bento_relay::route::{Router, RouterConfig, Rule};
use bento_relay::{Degradation, Relay, RelayBuilder, RelayHandle, Wake};
use bento_seaorm::{OutboxConnection, OutboxStore};
use bento_testkit::{Account as Verdict, Ledger};
use bento_tests::{Account, Counted};
use sea_orm::{DatabaseConnection, DbBackend, DbErr};
use uuid::Uuid;

use crate::broker::Broker;
use crate::support::TestDatabase;

/// The number of events that a round commits: one of each aggregate.
pub const AGGREGATES: usize = 20;
/// From one round to the next.
const PAUSE: Duration = Duration::from_millis(200);
/// Longer than any step takes; what does not end has failed.
const LIMIT: Duration = Duration::from_secs(120);

pub struct Stage<'a> {
    database: &'a TestDatabase,
    pool: DatabaseConnection,
    outbox: OutboxConnection,
    wake: Wake,
    brokers: Vec<(&'static str, Broker)>,
    committed: Mutex<Vec<(EventId, String, i64)>>,
    rounds: AtomicI64,
}

impl<'a> Stage<'a> {
    pub async fn on<const N: usize>(
        database: &'a TestDatabase,
        brokers: [&'static str; N],
    ) -> Self {
        let wake = Wake::new();
        let outbox = OutboxConnection::builder(database.connect(2).await)
            .wake(&wake)
            .build();
        let brokers = brokers.map(|name| (name, Broker::default())).into();
        let pool = database.connect(5).await;
        let (committed, rounds) = (Mutex::default(), AtomicI64::new(0));
        Self {
            database,
            pool,
            outbox,
            wake,
            brokers,
            committed,
            rounds,
        }
    }

    pub fn store(&self) -> OutboxStore {
        OutboxStore::new(self.pool.clone())
    }

    pub fn broker(&self, name: &str) -> &Broker {
        &self
            .brokers
            .iter()
            .find(|(known, _)| *known == name)
            .expect("a broker of the stage")
            .1
    }

    /// A relay with this rule for every event.
    pub fn relay(&self, rule: Rule) -> RelayBuilder<OutboxStore, Publishers> {
        let mut publishers = Publishers::new();
        let mut config = RouterConfig::default().rule(rule);
        for (name, broker) in &self.brokers {
            publishers = publishers.with(*name, broker.clone());
            config = config.destination(Destination::new(*name));
        }
        let router: Router = config.build().unwrap();
        Relay::builder(self.store(), publishers)
            .router(router)
            .wake(&self.wake)
    }

    /// Commits this number of rounds, one after the other. Returns how many events that were.
    pub async fn play(&self, rounds: usize) -> usize {
        self.play_for("", rounds).await
    }

    /// The same as events of a tenant, whose aggregates are its own.
    pub async fn play_for(&self, tenant: &str, rounds: usize) -> usize {
        let mut ticks = tokio::time::interval(PAUSE);
        for _ in 0..rounds {
            ticks.tick().await;
            let mut metadata = Metadata::default();
            metadata.tenant_id = (!tenant.is_empty()).then(|| tenant.to_owned());
            metadata
                .scope(self.commit(i64::try_from(tenant.len()).unwrap() * 100))
                .await;
        }
        rounds * AGGREGATES
    }

    async fn commit(&self, offset: i64) {
        let events: Vec<_> = (1..=AGGREGATES as i64)
            .map(|account| (offset + account, EventId::new()))
            .collect();
        let raise = self.outbox.transaction_async(async |_| {
            for (account, event) in &events {
                Account::new(*account).raise(Counted {
                    token: event.to_string(),
                });
            }
            Ok::<_, DbErr>(())
        });
        raise.await.unwrap();
        let round = self.rounds.fetch_add(1, Ordering::Relaxed);
        let events = events
            .into_iter()
            .map(|(account, event)| (event, account.to_string(), round));
        self.committed.lock().unwrap().extend(events);
    }

    /// Waits until each of these brokers has got this number of events.
    pub async fn delivered<const N: usize>(&self, brokers: [&str; N], count: usize) {
        for name in brokers {
            if tokio::time::timeout(LIMIT, self.broker(name).inner().wait_for(count))
                .await
                .is_err()
            {
                panic!(
                    "{} of {count} events arrived at {name}",
                    self.broker(name).inner().published().len()
                );
            }
        }
    }

    /// Waits until this number of rows have this status.
    pub async fn counted(&self, status: &str, count: usize) {
        let sql = format!("SELECT count(*) FROM bento_outbox_status WHERE status = '{status}'");
        self.until(&sql, i64::try_from(count).unwrap()).await;
    }

    /// Waits until nothing is pending, held or dead.
    pub async fn drained(&self) {
        self.until("SELECT count(*) FROM bento_outbox_status", 0)
            .await;
    }

    async fn until(&self, sql: &str, count: i64) {
        let reached = async {
            while self.database.number(sql).await != count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(LIMIT, reached).await.is_err() {
            panic!(
                "`{sql}` is {} and not {count}",
                self.database.number(sql).await
            );
        }
    }

    pub fn is_open(&self, relay: &RelayHandle, name: &str) -> bool {
        let is_it = |reason: &Degradation| {
            matches!(
                reason,
                Degradation::CircuitOpen { destination, .. } if **destination == *name
            )
        };
        relay.health().degraded.iter().any(is_it)
    }

    /// The events that a broker received, compared with the committed ones.
    pub fn account(&self, name: &str) -> Verdict {
        let ledger = Ledger::new();
        for (event, stream, sequence) in self.committed.lock().unwrap().iter() {
            ledger.commit(*event, stream, *sequence);
        }
        for delivery in self.broker(name).inner().published() {
            let payload: serde_json::Value =
                serde_json::from_slice(&delivery.envelope.payload).unwrap();
            ledger.deliver(EventId::from(
                Uuid::parse_str(payload["token"].as_str().unwrap()).unwrap(),
            ));
        }
        ledger.check()
    }

    pub fn tell(&self, what: &str, numbers: &str) {
        tell(self.database, what, numbers);
    }
}

/// Prints numbers and leaves them in a file.
pub fn tell(database: &TestDatabase, what: &str, numbers: &str) {
    let back_end = match database.backend() {
        DbBackend::Postgres => "postgres",
        DbBackend::MySql => "mysql",
        _ => "sqlite",
    };
    print!("{back_end}: {numbers}");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{what}-{back_end}.txt"));
    std::fs::write(file, numbers).expect("cargo's directory for tests can be written");
}
