//! Handlers that are recorded while transactions commit and a relay reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bento_relay::handler_control::HandlerControl;
use bento_relay::publish::HandlerRoute;
use bento_relay::store::{Heartbeat, RelayId, RelayStore, ServedHandler, StoreError};
use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};

use super::{OutboxStore, OutboxWriter, Relay, entry};
use crate::outbox::meta::Expected;
use crate::tables::Tables;
use crate::test_database::on_every_back_end;

/// The number of handlers, and that of the events.
const HANDLERS: usize = 20;
const EVENTS: usize = 300;

/// Commits events one after another. Each says how many handlers were recorded before its commit.
async fn write(db: DatabaseConnection, recorded: Arc<AtomicUsize>) {
    let writer = OutboxWriter::new(Tables::default(), Expected::default());
    for _ in 0..EVENTS {
        let tx = db.begin().await.unwrap();
        let before = recorded.load(Ordering::SeqCst);
        let mut event = entry();
        event.envelope.payload = before.to_string().into_bytes().into();
        writer.write(&tx, vec![event]).await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// Records one handler after another.
async fn record(db: DatabaseConnection, recorded: Arc<AtomicUsize>) {
    let store = OutboxStore::new(db);
    store.open().await.unwrap();
    let mut routes = Vec::new();
    for number in 0..HANDLERS {
        routes.push(HandlerRoute::new(format!("handler-{number:02}"), ["*"]));
        store.record_handlers(&routes).await.unwrap();
        recorded.store(routes.len(), Ordering::SeqCst);
    }
}

#[tokio::test]
async fn handlers_are_recorded_again_when_the_tables_are_back() {
    on_every_back_end(async |db| {
        let store = OutboxStore::new(db.clone());
        store.open().await.unwrap();
        let routes = [HandlerRoute::new("mail", ["*"])];
        store.record_handlers(&routes).await.unwrap();
        let beat = || Heartbeat {
            relay: RelayId::new(),
            ttl: Duration::from_secs(600),
            lanes: None,
            claim: true,
            publishes: true,
            handlers: routes.iter().map(ServedHandler::from).collect(),
            idle: Vec::new(),
        };
        let mail = [Arc::from("mail")];
        let tables = Tables::default();
        for table in tables.all() {
            db.execute_unprepared(&format!("DELETE FROM {table}"))
                .await
                .unwrap();
        }
        assert_eq!(store.heartbeat(beat()).await.unwrap().handlers, mail);
        let drop = format!("DROP TABLE {}", tables.handler());
        db.execute_unprepared(&drop).await.unwrap();
        let missing = store.heartbeat(beat()).await.unwrap_err();
        assert!(
            matches!(missing, StoreError::NotMigrated { .. }),
            "{missing:?}"
        );
        crate::migrate(&db).await.unwrap();
        assert_eq!(store.heartbeat(beat()).await.unwrap().handlers, mail);
        // One that was retired is not recorded again.
        store.retire_handler("mail").await.unwrap();
        assert_eq!(store.heartbeat(beat()).await.unwrap().handlers, []);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn no_row_is_read_without_a_handler_that_was_recorded_before_its_commit() {
    on_every_back_end(async |db| {
        let mut relay = Relay::new(&db).await;
        let (is_done, recorded) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let others = {
            let is_done = Arc::clone(&is_done);
            let writing = tokio::spawn(write(db.clone(), Arc::clone(&recorded)));
            let recording = tokio::spawn(record(db.clone(), recorded));
            tokio::spawn(async move {
                writing.await.unwrap();
                recording.await.unwrap();
                is_done.store(true, Ordering::SeqCst);
            })
        };
        let (mut known, mut read, mut after) = (Vec::new(), 0, 0);
        loop {
            let is_last = is_done.load(Ordering::SeqCst);
            let advanced = relay.call().await;
            if advanced.streams.is_some() {
                known = advanced.handlers;
            }
            for row in advanced.pending {
                read += 1;
                let before = std::str::from_utf8(&row.envelope.payload).unwrap();
                let before: usize = before.parse().unwrap();
                after += usize::from(before > 0);
                let position = row.position;
                let taken_by = known
                    .iter()
                    .filter(|handler| handler.starts_after < position);
                assert!(taken_by.count() >= before, "row {position}: {known:?}");
            }
            if is_last {
                break;
            }
        }
        others.await.unwrap();
        assert_eq!((read, known.len()), (EVENTS, HANDLERS));
        assert!(after > 10, "only {after} events came after a record");
    })
    .await;
}
