//! The spans of loads and appends.

use bento_core::telemetry::{SPAN_APPEND, SPAN_LOAD};
use bento_seaorm::OutboxConnection;
use sea_orm::ConnectionTrait;
use tracing::Level;

use crate::ledger::Ledger;
use crate::log::{Line, Log, log};
use crate::meter::Meter;
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    an_append_is_a_span_with_its_numbers,
    a_conflict_is_the_outcome_of_a_span,
    a_failed_append_is_a_span_with_its_error,
    a_load_is_a_span_with_its_numbers,
    a_load_that_begins_at_a_snapshot_says_so,
    a_load_that_fails_is_a_span_with_its_error,
);

/// A database with a ledger of three events.
async fn with_ledger(database: &TestDatabase) -> (OutboxConnection, Ledger) {
    let db = OutboxConnection::new(database.db.clone());
    let mut ledger = Ledger::open("A", "Ann");
    ledger.credit(1);
    ledger.credit(1);
    let tx = db.begin().await.unwrap();
    tx.save(&mut ledger).await.unwrap();
    tx.commit().await.unwrap();
    (db, ledger)
}

/// The only span of a name.
fn only(log: &Log, name: &str) -> Line {
    let mut spans = log.spans(Level::INFO, name);
    assert_eq!(spans.len(), 1, "{spans:?}");
    spans.pop().unwrap()
}

fn line<const N: usize>(fields: [(&str, &str); N]) -> Line {
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    fields.into()
}

async fn an_append_is_a_span_with_its_numbers(database: &TestDatabase) {
    let (db, mut ledger) = with_ledger(database).await;
    ledger.credit(1);
    ledger.credit(1);
    let tx = db.begin().await.unwrap();
    let (log, guard) = log();
    tx.save(&mut ledger).await.unwrap();
    drop(guard);
    let expected = [
        ("aggregate_type", "ledger"),
        ("aggregate_id", "A"),
        ("events", "2"),
        ("sequence", "5"),
        ("outcome", "appended"),
    ];
    assert_eq!(only(&log, SPAN_APPEND), line(expected));
    tx.commit().await.unwrap();
}

async fn a_conflict_is_the_outcome_of_a_span(database: &TestDatabase) {
    let (db, _) = with_ledger(database).await;
    let mut late = Ledger::open("A", "Bob");
    let tx = db.begin().await.unwrap();
    let (log, guard) = log();
    let conflict = tx.save(&mut late).await.unwrap_err();
    drop(guard);
    late.discard();
    let span = only(&log, SPAN_APPEND);
    assert_eq!(span["outcome"], "conflict");
    assert!(conflict.to_string().starts_with(&span["error"]), "{span:?}");
    assert!(!span.contains_key("otel.status_code"), "{span:?}");
    tx.rollback().await.unwrap();
}

async fn a_failed_append_is_a_span_with_its_error(database: &TestDatabase) {
    let (db, mut ledger) = with_ledger(database).await;
    let drop_table = "DROP TABLE bento_event_stream";
    database.db.execute_unprepared(drop_table).await.unwrap();
    ledger.credit(1);
    let tx = db.begin().await.unwrap();
    let (log, guard) = log();
    tx.save(&mut ledger).await.unwrap_err();
    drop(guard);
    ledger.discard();
    let span = only(&log, SPAN_APPEND);
    assert_eq!(
        (&*span["outcome"], &*span["otel.status_code"]),
        ("failed", "ERROR")
    );
    assert!(span["error"].contains("bento_event_stream"), "{span:?}");
    tx.rollback().await.unwrap();
}

async fn a_load_is_a_span_with_its_numbers(database: &TestDatabase) {
    let (db, _) = with_ledger(database).await;
    let tx = db.begin().await.unwrap();
    for (id, events) in [("A", "3"), ("B", "0")] {
        let (log, guard) = log();
        let loaded = tx.load::<Ledger>(id).await.unwrap();
        drop(guard);
        assert_eq!(loaded.is_some(), id == "A");
        let expected = [
            ("aggregate_type", "ledger"),
            ("aggregate_id", id),
            ("events", events),
            ("sequence", events),
        ];
        assert_eq!(only(&log, SPAN_LOAD), line(expected));
    }
    tx.rollback().await.unwrap();
}

async fn a_load_that_begins_at_a_snapshot_says_so(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    let mut meter = Meter::new("A");
    let tx = db.begin().await.unwrap();
    for events in [7, 2] {
        meter.count(events);
        tx.save(&mut meter).await.unwrap();
    }
    let (log, guard) = log();
    tx.load::<Meter>("A").await.unwrap().unwrap();
    drop(guard);
    let span = only(&log, SPAN_LOAD);
    let numbers = ["snapshot", "events", "sequence"].map(|field| &*span[field]);
    assert_eq!(numbers, ["7", "2", "9"]);
    tx.rollback().await.unwrap();
}

async fn a_load_that_fails_is_a_span_with_its_error(database: &TestDatabase) {
    let (db, _) = with_ledger(database).await;
    let hole = "DELETE FROM bento_event WHERE sequence = 2";
    database.db.execute_unprepared(hole).await.unwrap();
    let tx = db.begin().await.unwrap();
    let (log, guard) = log();
    tx.load::<Ledger>("A").await.unwrap_err();
    drop(guard);
    let span = only(&log, SPAN_LOAD);
    assert!(span["error"].contains("event 2 is missing"), "{span:?}");
    assert_eq!(span["otel.status_code"], "ERROR");
    tx.rollback().await.unwrap();
}
