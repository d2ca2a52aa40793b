//! One store in many hands.

use std::sync::Arc;
use std::time::Duration;

use bento_relay::Relay;
use bento_relay::dead_letter::{
    AlertSettings, Alerts, DeadLetterQuery, DeadLetters, LogAlert, Operator,
};
use bento_relay::inspect::{Inspect, Monitor, MonitorSettings};
use bento_relay::publish::MemoryPublisher;
use bento_relay::store::{RelayStore, StoreError};
use bento_relay::tenant::Pauses;
use sea_orm::TransactionTrait;
use tokio::time::timeout;

use super::entry;
use crate::relay_store::OutboxStore;
use crate::test_database::on_every_back_end;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn clones_of_one_store_serve_relays_a_monitor_and_an_operator() {
    on_every_back_end(async |db| {
        let store = OutboxStore::new(db.clone()).with_application("shop");
        let broker = MemoryPublisher::new();
        let relays = [store.clone(), store.clone()]
            .map(|store| Relay::builder(store, broker.clone()).start().unwrap());
        let monitor = Monitor::start(store.clone(), MonitorSettings::default());
        let alerts = Alerts::start(store.clone(), LogAlert, AlertSettings::default());
        let tx = db.begin().await.unwrap();
        let entries = (0..40).map(|nth| {
            let mut entry = entry();
            entry.shard = nth % 16;
            entry.envelope.aggregate_id = nth.to_string();
            entry
        });
        crate::testing::write(&tx, entries.collect()).await.unwrap();
        tx.commit().await.unwrap();
        timeout(SOON, broker.wait_for(40))
            .await
            .expect("the relays publish");
        let operator = Operator::new(&store, "alice");
        assert!(
            operator
                .pause("acme", "their endpoint moves")
                .await
                .unwrap()
        );
        assert_eq!(store.clone().paused().await.unwrap().len(), 1);
        for relay in relays {
            relay.stop().await.unwrap();
        }
        monitor.stop().await;
        alerts.stop().await;
        assert_eq!(store.counts().await.unwrap().backlog(), 0);
        assert_eq!(broker.published().len(), 40, "each of them once");
    })
    .await;
}

#[tokio::test]
async fn a_clone_costs_a_few_counts_and_names_itself_anew() {
    on_every_back_end(async |db| {
        let shop = OutboxStore::new(db.clone()).with_application("shop");
        shop.open().await.unwrap();
        shop.list(&DeadLetterQuery::default()).await.unwrap();
        assert!(Arc::ptr_eq(&shop.tables, &shop.clone().tables));
        for billing in [
            shop.clone().with_application("billing"),
            shop.with_application("billing"),
        ] {
            let refused = billing.list(&DeadLetterQuery::default()).await.unwrap_err();
            assert!(
                matches!(refused, StoreError::OtherApplication { .. }),
                "{refused:?}"
            );
        }
    })
    .await;
}
