//! One tenant's backlog in its lane, another tenant's events in theirs.

use std::num::NonZeroU16;
use std::time::Duration;

use bento_core::Metadata;
use bento_core::outbox::Sharding;
use bento_relay::{Relay, Wake};
use bento_seaorm::{OutboxConnection, OutboxStore};
use bento_tests::{Account, Counted};
use sea_orm::DbErr;

use crate::broker::{Broker, Delays};
use crate::stage::tell;
use crate::support::TestDatabase;

/// The number of events that one transaction of the backlog commits.
const AT_ONCE: usize = 1_000;
/// From one event of the other tenant to the next.
const NOW_AND_THEN: Duration = Duration::from_millis(50);
/// The time of the broker for each wave.
const WAVE: Duration = Duration::from_millis(40);
/// The number of events that are measured without a backlog.
const SAMPLES: usize = 40;
/// The additional delay that a backlog may cause, on a machine that is busy with other things.
/// Where lanes do not share the workers it is a second.
const BOUND: Duration = Duration::from_millis(600);
/// Longer than a million events take.
const LIMIT: Duration = Duration::from_secs(900);

pub async fn a_backlog_in_one_lane_does_not_delay_another_lane(database: &TestDatabase) {
    let backlog = std::env::var("BENTO_LANE_BACKLOG")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(50_000);
    let lanes = Lanes::on(database).await;
    let store = OutboxStore::new(database.connect(5).await).with_sharding(sharding());
    let broker = lanes.broker.clone();
    // So that the backlog takes a while.
    broker.inner().answer_after(WAVE);
    lanes.pile_up(backlog).await;
    let relay = Relay::builder(store, broker.clone())
        .wake(&lanes.wake)
        .start()
        .unwrap();

    let beside = lanes.measure_beside(backlog).await;
    tokio::time::timeout(LIMIT, broker.inner().wait_for(backlog))
        .await
        .expect("the backlog ends");
    let alone = lanes.measure(SAMPLES).await;
    relay.stop().await.unwrap();
    tell(
        database,
        "lanes",
        &format!("alone: {alone}; beside {backlog} events in another lane: {beside}\n"),
    );
    assert!(
        beside.count >= 4,
        "the backlog was gone too early to say anything: {beside}"
    );
    assert!(beside.p95 < alone.p95 + BOUND, "{beside}");
}

struct Lanes {
    outbox: OutboxConnection,
    wake: Wake,
    broker: Broker,
    /// Two tenants of different lanes.
    busy: String,
    quiet: String,
}

impl Lanes {
    async fn on(database: &TestDatabase) -> Self {
        let wake = Wake::new();
        let outbox = OutboxConnection::builder(database.connect(2).await)
            .sharding(sharding())
            .wake(&wake)
            .build();
        let lane = |tenant: &String| sharding().lane(Some(tenant));
        let busy = "busy".to_owned();
        let names = (0..).map(|number| format!("quiet-{number}"));
        let quiet = names
            .into_iter()
            .find(|name| lane(name) != lane(&busy))
            .unwrap();
        Self {
            outbox,
            wake,
            broker: Broker::default(),
            busy,
            quiet,
        }
    }

    async fn pile_up(&self, count: usize) {
        for _ in 0..count / AT_ONCE {
            self.commit(&self.busy, 1..=AT_ONCE as i64).await;
        }
    }

    async fn commit(&self, tenant: &str, accounts: std::ops::RangeInclusive<i64>) {
        let raise = self.outbox.transaction_async(async |_| {
            for account in accounts.clone() {
                Account::new(account).raise(Counted {
                    token: String::new(),
                });
            }
            Ok::<_, DbErr>(())
        });
        Metadata::default()
            .with_tenant(tenant)
            .scope(raise)
            .await
            .unwrap();
    }

    /// Measures the delays of the quiet tenant's events beside a backlog.
    async fn measure_beside(&self, backlog: usize) -> Delays {
        let mut delays = Vec::new();
        while self.broker.of_tenant(&self.busy) < backlog {
            delays.push(self.delay_of_one().await);
        }
        Delays::of(delays)
    }

    async fn measure(&self, samples: usize) -> Delays {
        let mut delays = Vec::new();
        for _ in 0..samples {
            delays.push(self.delay_of_one().await);
        }
        Delays::of(delays)
    }

    /// From the commit of one event until it is there.
    async fn delay_of_one(&self) -> Duration {
        tokio::time::sleep(NOW_AND_THEN).await;
        let before = self.broker.of_tenant(&self.quiet);
        self.commit(&self.quiet, 1..=1).await;
        let begun = tokio::time::Instant::now();
        let arrived = self.broker.reaches(&self.quiet, before + 1);
        tokio::time::timeout(LIMIT, arrived)
            .await
            .expect("it arrives");
        begun.elapsed()
    }
}

/// More shards in a lane than a relay has workers: a backlog that kept them would leave none to the
/// other lanes.
fn sharding() -> Sharding {
    Sharding {
        shards: NonZeroU16::new(8).unwrap(),
        lanes: NonZeroU16::new(4).unwrap(),
    }
}
