//! The whole journey on each back end: annotate, raise, collect, flush, relay, decode.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test program"
)]

#[path = "../../bento-seaorm/tests/support/mod.rs"]
mod support;

#[path = "journey/clocks.rs"]
mod clocks;
#[path = "journey/obstacles.rs"]
mod obstacles;
#[path = "journey/versions.rs"]
mod versions;
#[path = "journey/wishes.rs"]
mod wishes;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bento_core::codec::DecodeError;
use bento_core::outbox::Sharding;
use bento_core::{Aggregate, Envelope, EventId, Metadata, PendingEvents, aggregate, domain_event};
use bento_relay::dead_letter::{DeadLetterQuery, DeadLetters};
use bento_relay::publish::{MemoryPublisher, PublishError};
use bento_relay::retry::RetryPolicy;
use bento_relay::{Relay, RelayHandle, Wake};
use bento_seaorm::{OutboxConnection, OutboxStore, OutboxTransaction};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr};

use crate::support::{TestDatabase, on_every_back_end};

/// A parcel was sent.
#[domain_event(schema = "parcel.sent", version = 3)]
#[derive(Clone, Debug, PartialEq)]
struct ParcelSent {
    parcel: i64,
    #[event(renamed_from = "kilos", since = 3)]
    weight: u32,
    #[event(since = 2, default = "standard")]
    service: String,
}

/// A parcel arrived.
#[domain_event(schema = "parcel.delivered", version = 1)]
#[derive(Clone, Debug, PartialEq)]
struct ParcelDelivered {
    parcel: i64,
}

/// A parcel was weighed; what version 1 stored is not read any more.
#[domain_event(schema = "parcel.weighed", version = 2, oldest = 2)]
#[derive(Clone, Debug, PartialEq)]
struct ParcelWeighed {
    parcel: i64,
    grams: u64,
}

#[aggregate(events(ParcelSent, ParcelDelivered, ParcelWeighed))]
#[derive(Debug)]
struct Parcel {
    id: i64,
    events: PendingEvents,
}

impl Parcel {
    fn send(id: i64) -> Self {
        let mut parcel = Self {
            id,
            events: PendingEvents::default(),
        };
        parcel.raise(ParcelSent {
            parcel: id,
            weight: 2,
            service: "express".to_owned(),
        });
        parcel
    }

    fn deliver(&mut self) {
        self.raise(ParcelDelivered { parcel: self.id });
    }
}

/// The start of each test: a connection that wakes a relay, and a broker in memory.
struct Journey {
    connection: OutboxConnection,
    database: DatabaseConnection,
    broker: MemoryPublisher,
    wake: Wake,
}

impl Journey {
    async fn on(database: &TestDatabase) -> Self {
        let wake = Wake::new();
        let connection = OutboxConnection::builder(database.db.clone())
            .wake(wake.clone())
            .build();
        let database = database.connect(5).await;
        Self {
            connection,
            database,
            broker: MemoryPublisher::new(),
            wake,
        }
    }

    fn store(&self) -> OutboxStore {
        OutboxStore::new(self.database.clone())
    }

    /// A relay that never polls within a test: it publishes because it is woken.
    fn start_relay(&self) -> RelayHandle {
        let never = Duration::from_secs(3600);
        let relay = Relay::builder(self.store(), self.broker.clone())
            .wake(self.wake.clone())
            .poll(never, never);
        relay.start().expect("the settings are valid")
    }

    async fn publish_all(&self) {
        let relay = Relay::builder(self.store(), self.broker.clone());
        relay
            .run_until_empty()
            .await
            .expect("the relay reaches the database");
    }

    /// The topics the broker got of one parcel, in order.
    fn topics(&self, parcel: i64) -> Vec<String> {
        let published = self.broker.published();
        let of_parcel = published
            .iter()
            .filter(|delivery| delivery.envelope.aggregate_id == parcel.to_string());
        of_parcel
            .map(|delivery| delivery.topic().into_owned())
            .collect()
    }
}

async fn place(
    tx: &OutboxTransaction,
    parcels: std::ops::RangeInclusive<i64>,
) -> Result<(), DbErr> {
    tx.execute_unprepared("SELECT 1").await?;
    for id in parcels {
        Parcel::send(id).deliver();
    }
    Ok(())
}

async fn a_committed_event_reaches_the_broker_and_a_rolled_back_one_does_not(
    database: &TestDatabase,
) {
    let journey = Journey::on(database).await;
    journey
        .connection
        .transaction_async(async |tx| place(tx, 1..=1).await)
        .await
        .unwrap();
    let failed = journey.connection.transaction_async(async |tx| {
        place(tx, 2..=2).await?;
        Err::<(), _>(DbErr::Custom("no".to_owned()))
    });
    failed.await.unwrap_err();
    journey.publish_all().await;
    assert_eq!(journey.topics(1), ["parcel.sent", "parcel.delivered"]);
    assert_eq!(journey.topics(2), [""; 0]);
    assert_eq!(
        database
            .number("SELECT count(*) FROM bento_outbox_status")
            .await,
        0
    );
}

async fn a_commit_wakes_the_relay_in_the_process(database: &TestDatabase) {
    let journey = Journey::on(database).await;
    let relay = journey.start_relay();
    for parcel in 1..=20 {
        journey
            .connection
            .transaction_async(async |tx| place(tx, parcel..=parcel).await)
            .await
            .unwrap();
    }
    journey.broker.wait_for(40).await;
    relay.stop().await.unwrap();
    for parcel in 1..=20 {
        assert_eq!(journey.topics(parcel), ["parcel.sent", "parcel.delivered"]);
    }
}

const COLUMNS: [&str; 9] = [
    "shard",
    "event_id",
    "event_type",
    "schema_version",
    "aggregate_type",
    "aggregate_id",
    "occurred_at",
    "headers",
    "payload",
];

/// Writes rows as releases before and after this one would have, all of one parcel.
async fn write_raw(journey: &Journey, events: &[(&str, u32, &str)]) {
    journey
        .connection
        .transaction_async(async |tx| place(tx, 7..=7).await)
        .await
        .unwrap();
    let db = journey.connection.inner();
    let template = "SELECT shard FROM bento_outbox WHERE aggregate_id = '7' LIMIT 1";
    let template = sea_orm::Statement::from_string(db.get_database_backend(), template);
    let shard: i32 = db
        .query_one_raw(template)
        .await
        .unwrap()
        .unwrap()
        .try_get_by_index(0)
        .unwrap();
    db.execute_unprepared("DELETE FROM bento_outbox")
        .await
        .unwrap();
    for (event_type, version, payload) in events {
        let insert = sea_orm::sea_query::Query::insert()
            .into_table("bento_outbox")
            .columns(COLUMNS)
            .values_panic([
                shard.into(),
                (*EventId::new().as_uuid()).into(),
                (*event_type).into(),
                (*version as i32).into(),
                "parcel".into(),
                "7".into(),
                sea_orm::prelude::DateTimeUtc::UNIX_EPOCH.into(),
                Vec::<u8>::new().into(),
                payload.as_bytes().to_vec().into(),
            ])
            .to_owned();
        db.execute(&insert).await.unwrap();
    }
}

async fn several_relays_publish_each_event_once_and_in_order(database: &TestDatabase) {
    let journey = Journey::on(database).await;
    let relays: Vec<_> = (0..3)
        .map(|_| {
            let relay = Relay::builder(journey.store(), journey.broker.clone());
            relay
                .poll(Duration::from_millis(5), Duration::from_millis(5))
                .batch(7)
                .start()
                .unwrap()
        })
        .collect();
    for round in 0..10 {
        let parcels = round * 10 + 1..=round * 10 + 10;
        journey
            .connection
            .transaction_async(async |tx| place(tx, parcels).await)
            .await
            .unwrap();
    }
    journey.broker.wait_for(200).await;
    for relay in relays {
        relay.stop().await.unwrap();
    }
    let mut times = HashMap::new();
    journey
        .broker
        .published()
        .iter()
        .for_each(|d| *times.entry(d.envelope.event_id).or_insert(0) += 1);
    assert_eq!((times.len(), journey.broker.published().len()), (200, 200));
    for parcel in 1..=100 {
        assert_eq!(journey.topics(parcel), ["parcel.sent", "parcel.delivered"]);
    }
}

async fn a_dead_letter_parks_its_aggregate_until_it_is_replayed(database: &TestDatabase) {
    let journey = Journey::on(database).await;
    journey
        .connection
        .transaction_async(async |tx| place(tx, 1..=2).await)
        .await
        .unwrap();
    journey.broker.fail(|delivery| {
        let is_unlucky = delivery.topic() == "parcel.sent" && delivery.envelope.aggregate_id == "1";
        is_unlucky.then(|| PublishError::permanent("the broker refuses this one"))
    });
    journey.publish_all().await;
    assert_eq!((journey.topics(1), journey.topics(2).len()), (vec![], 2));

    let dead = journey
        .store()
        .list(&DeadLetterQuery::default())
        .await
        .unwrap();
    assert_eq!(dead.len(), 1);
    assert!(dead[0].parks && dead[0].error.contains("the broker refuses this one"));
    let status = "SELECT count(*) FROM bento_outbox_status WHERE status = ";
    assert_eq!(database.number(&format!("{status}'dead'")).await, 1);
    assert_eq!(database.number(&format!("{status}'held'")).await, 1);

    journey.broker.recover();
    journey
        .store()
        .replay(dead[0].envelope.event_id, &dead[0].route)
        .await
        .unwrap();
    journey.publish_all().await;
    assert_eq!(journey.topics(1), ["parcel.sent", "parcel.delivered"]);
}

/// Waits until it is so, for at most a minute.
async fn until(is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect("it comes to be so in time");
}

async fn a_broker_that_is_away_is_waited_for_and_order_holds(database: &TestDatabase) {
    let journey = Journey::on(database).await;
    journey
        .broker
        .fail(|_| Some(PublishError::unavailable("the broker is away")));
    let retry =
        RetryPolicy::exponential(Duration::from_millis(1), Duration::from_secs(60), u32::MAX);
    let relay = Relay::builder(journey.store(), journey.broker.clone())
        .wake(journey.wake.clone())
        .retry(retry);
    let relay = relay.start().unwrap();
    journey
        .connection
        .transaction_async(async |tx| place(tx, 1..=30).await)
        .await
        .unwrap();
    until(async || {
        database
            .number("SELECT count(*) FROM bento_outbox_held")
            .await
            > 0
    })
    .await;
    journey.broker.recover();
    journey.broker.wait_for(60).await;
    relay.stop().await.unwrap();
    for parcel in 1..=30 {
        assert_eq!(journey.topics(parcel), ["parcel.sent", "parcel.delivered"]);
    }
}

async fn a_good_event_arrives_beside_fifteen_shards_of_bad_ones(database: &TestDatabase) {
    let journey = Journey::on(database).await;
    let shard = |parcel: i64| {
        let mut event = Envelope::new("parcel.sent", 3, chrono::DateTime::UNIX_EPOCH, "{}");
        (event.aggregate_type, event.aggregate_id) = (Parcel::TYPE.into(), parcel.to_string());
        Sharding::default().shard(&event)
    };
    let mut parcels: BTreeMap<_, _> = (1..2000).map(|parcel| (shard(parcel), parcel)).collect();
    let (_, good) = parcels.pop_last().unwrap();
    assert_eq!(parcels.len(), 15);
    let failures = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&failures);
    journey.broker.fail(move |delivery| {
        let is_bad = delivery.envelope.aggregate_id != good.to_string();
        counted.fetch_add(usize::from(is_bad), Ordering::Relaxed);
        is_bad.then(|| PublishError::transient("the receiver answers 500"))
    });
    let retry = RetryPolicy::fixed(Duration::from_millis(50), u32::MAX);
    let relay = Relay::builder(journey.store(), journey.broker.clone())
        .wake(journey.wake.clone())
        .retry(retry);
    let relay = relay.start().unwrap();
    for parcel in parcels.into_values() {
        journey
            .connection
            .transaction_async(async |tx| place(tx, parcel..=parcel).await)
            .await
            .unwrap();
    }
    // Many times more than open a circuit.
    while failures.load(Ordering::Relaxed) < 100 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    journey
        .connection
        .transaction_async(async |tx| place(tx, good..=good).await)
        .await
        .unwrap();
    let arrived = journey.broker.wait_for(2);
    tokio::time::timeout(Duration::from_secs(10), arrived)
        .await
        .expect("it does not wait for a trial");
    assert_eq!(
        (journey.topics(good).len(), relay.health().degraded),
        (2, vec![])
    );
    relay.stop().await.unwrap();
}

on_every_back_end!(
    a_good_event_arrives_beside_fifteen_shards_of_bad_ones,
    a_committed_event_reaches_the_broker_and_a_rolled_back_one_does_not,
    a_commit_wakes_the_relay_in_the_process,
    several_relays_publish_each_event_once_and_in_order,
    a_dead_letter_parks_its_aggregate_until_it_is_replayed,
    a_broker_that_is_away_is_waited_for_and_order_holds,
);
