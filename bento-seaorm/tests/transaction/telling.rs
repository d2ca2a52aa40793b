//! What the log says, and which relay is woken.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use bento_core::Metadata;
use bento_core::telemetry::{TARGET_FLUSH, TARGET_RAISE};
use bento_seaorm::OutboxTransaction;
use sea_orm::DbErr;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::shop::{self, Order};
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    a_committed_event_is_logged_with_its_fields,
    an_event_that_was_rolled_back_is_not_logged,
    forgotten_events_are_warned_of_with_the_line_that_raised_them,
);

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Line>>>);

type Line = (Level, String, BTreeMap<String, String>);

impl Log {
    fn lines(&self, level: Level, target: &str) -> Vec<BTreeMap<String, String>> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|line| line.0 == level && line.1 == target).map(|line| line.2.clone()).collect()
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.0.lock().unwrap().push((*event.metadata().level(), event.metadata().target().to_owned(), fields.0));
    }
}

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

/// The log of what this task does until the guard is dropped.
fn log() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let subscriber = tracing_subscriber::registry().with(log.clone());
    (log, tracing::subscriber::set_default(subscriber))
}

async fn a_committed_event_is_logged_with_its_fields(database: &TestDatabase) {
    let db = shop::open(database).await;
    let mut metadata = Metadata::default();
    metadata.correlation_id = Some("request-7".into());
    metadata.tenant_id = Some("acme".into());
    let (log, guard) = log();
    metadata.scope(db.transaction_async(async |tx| Order::place(1).insert(tx).await)).await.unwrap();
    drop(guard);
    let lines = log.lines(Level::DEBUG, TARGET_FLUSH);
    let event_id = database.outbox().await[0].event_id.to_string();
    let expected = [
        ("event_id", event_id.as_str()),
        ("event_type", "order.placed"),
        ("aggregate_id", "1"),
        ("correlation_id", "request-7"),
        ("tenant_id", "acme"),
    ];
    assert_eq!(lines.len(), 1);
    for (field, value) in expected {
        assert_eq!(lines[0].get(field).map(String::as_str), Some(value), "{field}");
    }
}

async fn an_event_that_was_rolled_back_is_not_logged(database: &TestDatabase) {
    let db = shop::open(database).await;
    let (log, guard) = log();
    let tx = db.begin().await.unwrap();
    tx.scope(async { Order::place(1).insert(&tx).await }).await.unwrap();
    tx.flush().await.unwrap();
    tx.rollback().await.unwrap();
    drop(guard);
    assert!(log.lines(Level::DEBUG, TARGET_FLUSH).is_empty());
}

async fn forgotten_events_are_warned_of_with_the_line_that_raised_them(database: &TestDatabase) {
    let db = shop::open(database).await;
    let (log, guard) = log();
    drop(Order::place(1));
    let place_only = async |_: &OutboxTransaction| {
        drop(Order::place(2));
        Ok::<_, DbErr>(())
    };
    db.transaction_async(place_only).await.unwrap();
    drop(guard);
    let lines = log.lines(Level::WARN, TARGET_RAISE);
    assert_eq!(lines.len(), 1, "raised in a scope it is published");
    assert_eq!(lines[0]["event_type"], "order.placed");
    assert!(lines[0]["raised_at"].contains("shop.rs:"), "{lines:?}");
}
