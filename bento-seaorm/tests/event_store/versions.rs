//! The check that this binary can decode what the event store has.

use std::sync::{Arc, Mutex};

use bento_core::registry::{StoredError, StoredSchema};
use bento_core::{Aggregate as _, DomainEvent, Envelope, domain_event};
use bento_relay::event_store::EventStore as _;
use bento_seaorm::{DatabaseEvents, OutboxConnection, Tables, testing, validate_stored};
use bento_testkit::event_store::{Credited, Opened, Purse};
use sea_orm::{ConnectionTrait, DbBackend, Statement, TransactionTrait as _};

use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    what_is_stored_and_cannot_be_decoded_is_told,
    the_check_reads_no_events_between_two_versions,
);

/// An event whose first version is retired.
#[domain_event(schema = "drawer.closed", version = 2, oldest = 2)]
#[derive(Clone, Debug)]
struct DrawerClosed {}

/// Stores events of these types and versions.
async fn store(database: &TestDatabase, types: &[(&'static str, u32)]) {
    let events = types.iter().zip(1..).map(|(&(event_type, version), nth)| {
        let mut event = Envelope::new(event_type, version, chrono::Utc::now(), "{}");
        event.aggregate_type = Purse::TYPE.into();
        event.aggregate_id = "a".to_owned();
        event.sequence = Some(nth);
        event
    });
    let tx = database.db.begin().await.unwrap();
    let stored = testing::append(&tx, Tables::default(), Purse::TYPE, events.collect()).await;
    stored.unwrap();
    tx.commit().await.unwrap();
    let published = "DELETE FROM bento_outbox";
    database.db.execute_unprepared(published).await.unwrap();
}

async fn what_is_stored_and_cannot_be_decoded_is_told(database: &TestDatabase) {
    bento_seaorm::migrate(&database.db).await.unwrap();
    let known = [
        (Opened::SCHEMA, 1),
        (Opened::SCHEMA, 2),
        (Credited::SCHEMA, 1),
    ];
    let others = [
        (DrawerClosed::SCHEMA, 1),
        (Credited::SCHEMA, 4),
        ("drawer.lost", 2),
        (DrawerClosed::SCHEMA, 2),
        (Opened::SCHEMA, 2),
        ("drawer.lost", 1),
    ];
    assert!(validate_stored(&database.db).await.unwrap().is_complete());
    store(database, &[&known[..], &others[..]].concat()).await;
    let report = validate_stored(&database.db).await.unwrap();
    let of_store = |schema: &str, version| StoredSchema {
        schema: schema.to_owned(),
        version,
        count: None,
        place: "event store".to_owned(),
    };
    let mut findings = report.findings().to_vec();
    findings.sort_by_key(|finding| (finding.stored().schema.clone(), finding.stored().version));
    let expected = [
        StoredError::NewerVersion {
            stored: of_store(Credited::SCHEMA, 4),
            newest: 1,
        },
        StoredError::Retired {
            stored: of_store(DrawerClosed::SCHEMA, 1),
            oldest: 2,
        },
        StoredError::UnknownEventType(of_store("drawer.lost", 1)),
        StoredError::UnknownEventType(of_store("drawer.lost", 2)),
    ];
    assert_eq!(findings, expected);
    let refused = report.into_result().unwrap_err();
    assert_eq!(refused.errors(), &expected[1..2]);
    let text = refused.to_string();
    assert!(
        text.contains("`drawer.closed` version 1 in event store: versions before 2 are retired"),
        "{text}"
    );
}

async fn the_check_reads_no_events_between_two_versions(database: &TestDatabase) {
    bento_seaorm::migrate(&database.db).await.unwrap();
    let db = DatabaseEvents::new(OutboxConnection::new(database.db.clone()));
    for id in ["p", "q"] {
        let mut purse = Purse::open(id);
        (0..5_000).for_each(|_| purse.credit(1));
        db.save(&mut purse).await.unwrap();
    }
    store(database, &[(Opened::SCHEMA, 1)]).await;
    let analyze = match database.backend() {
        DbBackend::MySql => "ANALYZE TABLE bento_event",
        _ => "ANALYZE",
    };
    database.db.execute_unprepared(analyze).await.unwrap();
    let statement = statement_of_the_check(database).await;
    let explain = match database.backend() {
        DbBackend::Postgres => "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF)",
        DbBackend::Sqlite => "EXPLAIN QUERY PLAN",
        _ => "EXPLAIN",
    };
    let explain = format!("{explain} {statement}");
    let explain = Statement::from_string(database.backend(), explain);
    let rows = database.db.query_all_raw(explain).await.unwrap();
    match database.backend() {
        DbBackend::Postgres => {
            let lines = rows.iter().map(|row| row.try_get_by_index(0).unwrap());
            let read = entries_read(&lines.collect::<Vec<String>>());
            assert!(read > 0 && read < 30, "{read} entries for three versions");
        }
        DbBackend::Sqlite => {
            let lines = rows.iter().map(|row| row.try_get("", "detail").unwrap());
            let lines: Vec<String> = lines.collect();
            let is_scan = |line: &String| line.starts_with("SCAN e") || line.contains("SCAN bento");
            assert!(!lines.iter().any(is_scan), "{lines:#?}");
            let searches = lines.iter().filter(|line| line.starts_with("SEARCH"));
            assert_eq!(searches.count(), 4, "{lines:#?}");
        }
        _ => {
            let extra: String = rows[0].try_get("", "Extra").unwrap();
            assert!(extra.contains("Using index for group-by"), "{extra}");
        }
    }
}

/// The statement by which the check reads the event store.
async fn statement_of_the_check(database: &TestDatabase) -> String {
    let mut connection = database.connect(1).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seeing = Arc::clone(&seen);
    connection.set_metric_callback(move |info| {
        seeing.lock().unwrap().push(info.statement.sql.clone());
    });
    assert!(validate_stored(&connection).await.unwrap().is_complete());
    let mut seen = seen.lock().unwrap();
    seen.retain(|sql| sql.contains("bento_event"));
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen.remove(0)
}

/// The number of rows and entries of the event table that PostgreSQL has read.
fn entries_read(plan: &[String]) -> u64 {
    let number = |line: &str, name: &str| -> u64 {
        let (_, behind) = line.split_once(name).unwrap();
        let digits = behind.split(|letter: char| !letter.is_ascii_digit()).next();
        digits.unwrap().parse().unwrap()
    };
    let scans = plan.iter().filter(|line| line.contains(" on bento_event"));
    scans
        .filter(|line| !line.contains("never executed"))
        .inspect(|line| assert!(line.contains("Index Only Scan"), "{plan:#?}"))
        .map(|line| number(line, "rows=").max(1) * number(line, "loops="))
        .sum()
}
