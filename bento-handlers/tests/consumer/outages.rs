//! A database that answers nothing more, as one whose host has vanished.

use std::time::Duration;

use bento_handlers::consumer::SourceStatus;
use bento_handlers::{Consumer, Handlers};
use bento_relay::RelaySettings;
use bento_seaorm::{Inbox, OutboxConnection};
use sea_orm::DbBackend;
use tokio::time::timeout;

use crate::support::proxy::Proxy;
use crate::support::{TestDatabase, connect, on_every_back_end};
use crate::{Scene, event, short};

/// A server that answers nothing more: time is the only witness.
async fn a_database_that_answers_nothing_is_told_and_hangs_no_stop(database: &TestDatabase) {
    // It has no server.
    if database.is(DbBackend::Sqlite) {
        return;
    }
    let scene = Scene::on(database).await;
    let proxy = Proxy::before(database.url(), Duration::ZERO).await;
    let pool = OutboxConnection::new(database.connect(5).await);
    let handlers = Handlers::registered().state(scene.seen.clone());
    let inbox = Inbox::new(connect(proxy.url(), 5).await);
    let mut relay = RelaySettings::default();
    (relay.lease, relay.drain_timeout) = (Duration::from_secs(2), Duration::from_secs(1));
    let consumer = Consumer::builder(inbox, handlers.build(&pool).unwrap())
        .settings(short())
        .relay(relay)
        .source("orders", scene.source.clone())
        .start()
        .await
        .unwrap();
    scene.source.send(event("o", 1));
    scene.source.wait_for_acknowledged(1).await;
    proxy.freeze(true);
    let status = || consumer.health().sources["orders"].status.clone();
    let is_told = async {
        while !matches!(status(), SourceStatus::Unavailable { .. }) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let told = timeout(Duration::from_secs(20), is_told).await;
    assert!(told.is_ok(), "the source is {}", status());
    assert!(!consumer.health().is_ready());
    let stopped = timeout(Duration::from_secs(20), consumer.stop()).await;
    assert!(stopped.is_ok(), "the consumer does not stop");
}

on_every_back_end!(a_database_that_answers_nothing_is_told_and_hangs_no_stop);
