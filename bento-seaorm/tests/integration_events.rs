//! Integration events, from the transaction to the broker, on every back end.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "a test")]

mod support;

use std::sync::{Arc, Mutex};

use bento_core::event::EventKind;
use bento_core::integration::event_id;
use bento_core::telemetry::{DEPRECATED_EVENTS, DUPLICATE_EVENTS, FLUSHED_EVENTS};
use bento_core::unit_of_work::FlushError;
use bento_core::{
    Envelope, EventId, PendingEvents, aggregate, domain_event, integration_event, raise_with,
};
use bento_relay::Relay;
use bento_relay::publish::{Destination, MemoryPublisher};
use bento_relay::route::{RouterConfig, Rule};
use bento_seaorm::{Error, OutboxConnection, OutboxStore, OutboxTransaction};
use bento_testkit::Counters;
use sea_orm::{ConnectionTrait, DbErr};

use crate::support::{TestDatabase, on_every_back_end};

/// A customer has confirmed an order.
#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Clone, Debug)]
struct OrderConfirmed {
    order_id: i64,
    margin: i64,
}

#[integration_event(
    from = OrderConfirmed,
    schema = "ecommerce.order.confirmed",
    version = 1,
    deprecated = "use version 2"
)]
#[derive(Clone, Debug, PartialEq)]
struct OrderConfirmedV1 {
    order_id: i64,
}

impl From<&OrderConfirmed> for OrderConfirmedV1 {
    fn from(event: &OrderConfirmed) -> Self {
        Self {
            order_id: event.order_id,
        }
    }
}

#[integration_event(
    from = OrderConfirmed,
    schema = "ecommerce.order.confirmed",
    version = 2,
    oldest = 2
)]
#[derive(Clone, Debug, PartialEq)]
struct OrderConfirmedV2 {
    order: String,
}

impl From<&OrderConfirmed> for OrderConfirmedV2 {
    fn from(event: &OrderConfirmed) -> Self {
        assert!(event.order_id != 13, "order 13 has no number");
        Self {
            order: format!("order-{}", event.order_id),
        }
    }
}

#[aggregate(events(OrderConfirmed))]
struct Order {
    id: i64,
    events: PendingEvents,
}

impl Order {
    fn confirm(id: i64) {
        let mut order = Self {
            id,
            events: PendingEvents::default(),
        };
        order.raise(OrderConfirmed {
            order_id: id,
            margin: 5,
        });
    }
}

const PUBLIC: &str = "ecommerce.order.confirmed";

on_every_back_end!(
    both_are_written_by_one_insert,
    two_versions_reach_their_consumers_in_order,
    a_panic_in_from_writes_nothing,
    a_repeated_event_is_written_once_with_what_is_made_of_it,
    deprecated_ones_count_when_their_transaction_commits,
);

async fn confirm(tx: &OutboxTransaction, ids: impl IntoIterator<Item = i64>) -> Result<(), DbErr> {
    tx.execute_unprepared("SELECT 1").await?;
    ids.into_iter().for_each(Order::confirm);
    Ok(())
}

async fn both_are_written_by_one_insert(database: &TestDatabase) {
    let inserts = Arc::<Mutex<Vec<String>>>::default();
    let noted = Arc::clone(&inserts);
    let mut connection = database.connect(1).await;
    connection.set_metric_callback(move |info| {
        if info.statement.sql.starts_with("INSERT") {
            noted.lock().unwrap().push(info.statement.sql.clone());
        }
    });
    let db = OutboxConnection::new(connection);
    // The first flush records the sharding as well.
    db.transaction_async(async |tx| confirm(tx, [1]).await)
        .await
        .unwrap();
    inserts.lock().unwrap().clear();
    db.transaction_async(async |tx| confirm(tx, [2, 3]).await)
        .await
        .unwrap();
    let inserts = inserts.lock().unwrap().clone();
    assert_eq!(inserts.len(), 1, "{inserts:#?}");
    let rows = database.outbox().await;
    let of_order = |id: &str| {
        let rows = rows.iter().filter(|row| row.aggregate_id == id);
        rows.map(|row| (&*row.event_type, row.shard))
            .collect::<Vec<_>>()
    };
    for id in ["1", "2", "3"] {
        let shard = of_order(id)[0].1;
        assert_eq!(
            of_order(id),
            [("order.confirmed", shard), (PUBLIC, shard), (PUBLIC, shard)]
        );
    }
    let of_kind = |kind: &str| format!("SELECT count(*) FROM bento_outbox WHERE kind {kind}");
    assert_eq!(database.number(&of_kind("IS NULL")).await, 3);
    assert_eq!(database.number(&of_kind("= 'integration'")).await, 6);
}

async fn two_versions_reach_their_consumers_in_order(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    for _ in 0..2 {
        db.transaction_async(async |tx| confirm(tx, [7]).await)
            .await
            .unwrap();
    }
    let partners = Rule::new("partners")
        .events(["ecommerce.*"])
        .kind(EventKind::Integration)
        .to(["partners"]);
    let router = RouterConfig::default()
        .destination(Destination::new("partners"))
        .rule(partners);
    let broker = MemoryPublisher::new();
    let store = OutboxStore::new(database.db.clone());
    let report = Relay::builder(store, broker.clone())
        .router(router.build().unwrap())
        .run_until_empty()
        .await
        .unwrap();
    assert_eq!((report.tally.published, report.tally.dead), (4, 0));
    let published = broker.published();
    let versions: Vec<_> = published
        .iter()
        .map(|delivery| delivery.envelope.schema_version)
        .collect();
    assert_eq!(
        versions,
        [1, 2, 1, 2],
        "in the order of their domain events"
    );
    let read = |envelope: &Envelope| {
        assert_eq!(envelope.kind, EventKind::Integration);
        (envelope.decode().ok(), envelope.decode().ok())
    };
    let (first, second) = (
        OrderConfirmedV1 { order_id: 7 },
        OrderConfirmedV2 {
            order: "order-7".to_owned(),
        },
    );
    assert_eq!(read(&published[0].envelope), (Some(first), None));
    assert_eq!(read(&published[1].envelope), (None, Some(second)));
    assert!(database.outbox().await.is_empty(), "nothing stays behind");
    let dead = database.number("SELECT count(*) FROM bento_dead_letter");
    assert_eq!(dead.await, 0, "the domain events are for nobody else");
}

async fn a_panic_in_from_writes_nothing(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    let failed = db
        .transaction_async(async |tx| {
            confirm(tx, [1, 13]).await?;
            tx.flush().await
        })
        .await
        .unwrap_err();
    let error = failed.to_string();
    assert!(error.contains("`OrderConfirmedV2`"), "{error}");
    assert!(error.contains("order 13 has no number"), "{error}");
    let tx = db.begin().await.unwrap();
    tx.scope(async { confirm(&tx, [13]).await }).await.unwrap();
    assert!(matches!(
        tx.flush().await,
        Err(Error::Flush(FlushError::Unmappable { version: 2, .. }))
    ));
    tx.rollback().await.unwrap();
    assert!(database.outbox().await.is_empty());
}

async fn a_repeated_event_is_written_once_with_what_is_made_of_it(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    let id = EventId::new();
    let counters = Counters::default();
    let recording = counters.record();
    for _ in 0..2 {
        let repeat = async |tx: &OutboxTransaction| {
            tx.execute_unprepared("SELECT 1").await?;
            let confirmed = OrderConfirmed {
                order_id: 7,
                margin: 5,
            };
            raise_with(confirmed, |metadata| metadata.with_event_id(id)).unwrap();
            Ok::<_, DbErr>(())
        };
        db.transaction_async(repeat).await.unwrap();
    }
    drop(recording);
    let ids: Vec<EventId> = database
        .outbox()
        .await
        .into_iter()
        .map(|row| row.event_id.into())
        .collect();
    assert_eq!(ids, [id, event_id(id, PUBLIC, 1), event_id(id, PUBLIC, 2)]);
    assert_eq!(
        (counters.get(FLUSHED_EVENTS), counters.get(DUPLICATE_EVENTS)),
        (3, 1)
    );
}

async fn deprecated_ones_count_when_their_transaction_commits(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    let counters = Counters::default();
    let _recording = counters.record();
    db.transaction_async(async |tx| confirm(tx, [1, 2]).await)
        .await
        .unwrap();
    let tx = db.begin().await.unwrap();
    tx.scope(async { confirm(&tx, [3]).await }).await.unwrap();
    tx.flush().await.unwrap();
    tx.rollback().await.unwrap();
    let of_version = |version| {
        counters.get_with(
            DEPRECATED_EVENTS,
            &[("event_type", PUBLIC), ("version", version)],
        )
    };
    assert_eq!((of_version("1"), of_version("2")), (2, 0));
    assert_eq!(counters.get(FLUSHED_EVENTS), 6);
}
