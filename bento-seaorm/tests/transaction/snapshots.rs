//! Snapshots of event-sourced aggregates: kept by saves, read by loads, never a wrong state.

use std::sync::{Arc, Mutex};

use bento_core::{EventSourced, telemetry};
use bento_relay::event_store::Moment;
use bento_relay::inspect::{InspectEvents as _, StoredAggregates};
use bento_seaorm::{DatabaseEvents, OutboxConnection};
use bento_testkit::Counters;
use sea_orm::{ConnectionTrait, DbBackend, Schema, Statement, Value};

use crate::meter::{Meter, declared, doubled, row, wider};
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    a_load_begins_at_the_snapshot,
    a_load_is_one_query,
    a_save_that_passes_no_multiple_keeps_none,
    a_state_that_its_events_do_not_make_is_not_kept,
    releases_do_not_see_each_others_snapshots,
    a_state_that_cannot_be_read_is_replaced,
    a_snapshot_beyond_the_head_is_replaced,
    a_snapshot_of_events_that_were_replaced_is_not_used,
    a_snapshot_of_other_declarations_is_missed,
    a_rollback_leaves_no_snapshot,
    a_moment_before_the_snapshot_is_not_made_of_it,
    a_snapshot_that_cannot_be_written_fails_no_save,
    a_load_of_many_events_asks_for_a_snapshot,
    a_model_is_loaded_from_its_snapshot,
    a_snapshot_that_an_insert_has_left_out_is_kept_later,
    snapshots_are_counted_by_type,
);

/// Saves an aggregate in a transaction of its own.
macro_rules! save {
    ($db:expr, $aggregate:expr) => {
        let tx = $db.begin().await.unwrap();
        tx.save($aggregate).await.unwrap();
        tx.commit().await.unwrap();
    };
}

async fn load<A: EventSourced<Id = String>>(db: &OutboxConnection) -> A {
    let tx = db.begin().await.unwrap();
    let loaded = tx.load::<A>("A").await.unwrap().expect("it is stored");
    tx.rollback().await.unwrap();
    loaded
}

/// A meter with that many events, saved at once.
async fn metered(database: &TestDatabase, events: i64) -> (OutboxConnection, Meter) {
    let db = OutboxConnection::new(database.db.clone());
    let mut meter = Meter::new("A");
    meter.count(events);
    save!(db, &mut meter);
    (db, meter)
}

/// The numbers of the events whose states are kept.
async fn snapshots(database: &TestDatabase) -> Vec<i64> {
    let sql = "SELECT sequence FROM bento_snapshot ORDER BY sequence";
    let select = Statement::from_string(database.backend(), sql);
    let rows = database.db.query_all_raw(select).await.unwrap();
    rows.iter()
        .map(|row| row.try_get_by_index(0).unwrap())
        .collect()
}

/// Changes the stored states, so that a load shows what it was made of.
async fn change_states(database: &TestDatabase, state: &str) {
    let place = if database.is(DbBackend::Postgres) {
        "$1"
    } else {
        "?"
    };
    let sql = format!("UPDATE bento_snapshot SET state = {place}");
    let state = Value::from(state.as_bytes().to_vec());
    let update = Statement::from_sql_and_values(database.backend(), sql, [state]);
    database.db.execute_raw(update).await.unwrap();
}

const CHANGED: &str = r#"{"id":"B","version":1,"total":1000}"#;

async fn execute(database: &TestDatabase, sql: &str) {
    database.db.execute_unprepared(sql).await.unwrap();
}

async fn a_load_begins_at_the_snapshot(database: &TestDatabase) {
    let (db, mut meter) = metered(database, 7).await;
    meter.count(2);
    save!(db, &mut meter);
    assert_eq!(snapshots(database).await, [7]);
    let loaded: Meter = load(&db).await;
    assert_eq!((loaded.version, loaded.total), (9, 9));
    change_states(database, CHANGED).await;
    let counters = Counters::default();
    let recording = counters.record();
    let mut loaded: Meter = load(&db).await;
    drop(recording);
    assert_eq!(
        (loaded.id.as_str(), loaded.version, loaded.total),
        ("A", 9, 1002)
    );
    assert_eq!(counters.get(telemetry::SNAPSHOT_HITS), 1);
    loaded.count(1);
    save!(db, &mut loaded);
    assert_eq!(snapshots(database).await, [10], "one for each fingerprint");
}

async fn a_load_is_one_query(database: &TestDatabase) {
    metered(database, 7).await;
    let mut connection = database.connect(1).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seeing = Arc::clone(&seen);
    connection.set_metric_callback(move |info| {
        seeing.lock().unwrap().push(info.statement.sql.clone());
    });
    let db = OutboxConnection::new(connection);
    let _: Meter = load(&db).await;
    let of_events = |sql: &&String| sql.contains("bento_event") || sql.contains("bento_snapshot");
    let seen = seen.lock().unwrap();
    assert_eq!(seen.iter().filter(of_events).count(), 1, "{seen:?}");
}

async fn a_save_that_passes_no_multiple_keeps_none(database: &TestDatabase) {
    let (db, mut meter) = metered(database, 4).await;
    assert!(snapshots(database).await.is_empty());
    meter.count(1);
    save!(db, &mut meter);
    assert_eq!(snapshots(database).await, [5]);
    meter.count(4);
    save!(db, &mut meter);
    assert_eq!(snapshots(database).await, [5]);
}

async fn a_state_that_its_events_do_not_make_is_not_kept(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    let mut meter = Meter::new("A");
    meter.count(3);
    meter.discard();
    meter.total += 100;
    meter.count(5);
    save!(db, &mut meter);
    assert_eq!(snapshots(database).await, [5]);
    let loaded: Meter = load(&db).await;
    assert_eq!((loaded.version, loaded.total), (5, 5));
}

async fn releases_do_not_see_each_others_snapshots(database: &TestDatabase) {
    let (db, mut meter) = metered(database, 5).await;
    change_states(database, CHANGED).await;
    let mut newer: wider::Meter = load(&db).await;
    assert_eq!((newer.total, newer.readings), (5, 5));
    assert_eq!(load::<doubled::Meter>(&db).await.total, 10);
    newer.count();
    save!(db, &mut newer);
    assert_eq!(snapshots(database).await, [5, 6], "side by side");
    let old: Meter = load(&db).await;
    assert_eq!((old.version, old.total), (6, 1001), "from its own");
    meter.count(5);
    let tx = db.begin().await.unwrap();
    tx.save(&mut meter).await.unwrap_err();
    tx.rollback().await.unwrap();
    meter.discard();
    assert_eq!(load::<wider::Meter>(&db).await.readings, 6);
}

async fn a_state_that_cannot_be_read_is_replaced(database: &TestDatabase) {
    let (db, _) = metered(database, 6).await;
    for state in ["", "\u{1}{", r#"{"id":"A"}"#, "null"] {
        change_states(database, state).await;
        let counters = Counters::default();
        let recording = counters.record();
        let loaded: Meter = load(&db).await;
        drop(recording);
        assert_eq!((loaded.version, loaded.total), (6, 6), "{state}");
        assert_eq!(counters.get(telemetry::STALE_SNAPSHOTS), 1);
    }
    let mut loaded: Meter = load(&db).await;
    loaded.count(1);
    save!(db, &mut loaded);
    assert_eq!(snapshots(database).await, [7]);
    assert_eq!(load::<Meter>(&db).await.total, 7);
}

async fn a_snapshot_beyond_the_head_is_replaced(database: &TestDatabase) {
    let (db, _) = metered(database, 6).await;
    change_states(database, CHANGED).await;
    execute(database, "UPDATE bento_snapshot SET sequence = 8").await;
    let mut loaded: Meter = load(&db).await;
    assert_eq!((loaded.version, loaded.total), (6, 6));
    loaded.count(1);
    save!(db, &mut loaded);
    assert_eq!(snapshots(database).await, [7]);
    assert_eq!(load::<Meter>(&db).await.total, 7);
}

/// As after a dump of the events was restored, and others were stored since.
async fn a_snapshot_of_events_that_were_replaced_is_not_used(database: &TestDatabase) {
    let (db, _) = metered(database, 6).await;
    change_states(database, CHANGED).await;
    let id = match database.backend() {
        DbBackend::Postgres => "'00000000-0000-0000-0000-000000000007'",
        _ => "X'00000000000000000000000000000007'",
    };
    let restore = format!("UPDATE bento_event SET event_id = {id} WHERE sequence = 6");
    execute(database, &restore).await;
    let counters = Counters::default();
    let recording = counters.record();
    let mut loaded: Meter = load(&db).await;
    drop(recording);
    assert_eq!((loaded.version, loaded.total), (6, 6));
    assert_eq!(counters.get(telemetry::STALE_SNAPSHOTS), 1);
    loaded.count(1);
    save!(db, &mut loaded);
    assert_eq!(snapshots(database).await, [7]);
    change_states(database, CHANGED).await;
    assert_eq!(load::<Meter>(&db).await.total, 1000, "it is used again");
}

/// The release before had another declaration of the event.
async fn a_snapshot_of_other_declarations_is_missed(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    let mut meter = declared::Meter {
        id: "A".to_owned(),
        ..declared::Meter::default()
    };
    meter.count(6);
    save!(db, &mut meter);
    change_states(database, CHANGED).await;
    assert_eq!(load::<declared::Meter>(&db).await.total, 1000, "its own");
    let before = declared::before::Meter::SNAPSHOTS.unwrap().fingerprint();
    let before = before.cast_signed();
    let of_before = format!("UPDATE bento_snapshot SET fingerprint = {before}");
    execute(database, &of_before).await;
    let counters = Counters::default();
    let recording = counters.record();
    let mut loaded: declared::Meter = load(&db).await;
    drop(recording);
    assert_eq!((loaded.version, loaded.total), (6, 6));
    assert_eq!(counters.get(telemetry::SNAPSHOT_MISSES), 1);
    loaded.count(1);
    save!(db, &mut loaded);
    assert_eq!(snapshots(database).await, [6, 7], "side by side");
}

async fn a_rollback_leaves_no_snapshot(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    let mut meter = Meter::new("A");
    meter.count(3);
    let tx = db.begin().await.unwrap();
    tx.save(&mut meter).await.unwrap();
    let nested = tx.begin().await.unwrap();
    meter.count(4);
    nested.save(&mut meter).await.unwrap();
    assert_eq!(nested.load::<Meter>("A").await.unwrap().unwrap().total, 7);
    nested.rollback().await.unwrap();
    assert_eq!(tx.load::<Meter>("A").await.unwrap().unwrap().total, 3);
    tx.commit().await.unwrap();
    assert!(snapshots(database).await.is_empty());
    let tx = db.begin().await.unwrap();
    tx.save(&mut meter).await.unwrap();
    tx.rollback().await.unwrap();
    assert!(snapshots(database).await.is_empty());
    save!(db, &mut meter);
    assert_eq!(load::<Meter>(&db).await.total, 7);
}

async fn a_moment_before_the_snapshot_is_not_made_of_it(database: &TestDatabase) {
    let (db, _) = metered(database, 6).await;
    change_states(database, CHANGED).await;
    let tx = db.begin().await.unwrap();
    let at = async |moment| {
        tx.load_at::<Meter>("A", moment)
            .await
            .unwrap()
            .unwrap()
            .total
    };
    assert_eq!(at(Moment::Sequence(5)).await, 5);
    assert_eq!(at(Moment::Sequence(6)).await, 1000);
    assert_eq!(at(Moment::Sequence(7)).await, 1000);
    let later = chrono::Utc::now() + chrono::TimeDelta::hours(1);
    assert_eq!(at(Moment::Time(later)).await, 6);
}

async fn a_snapshot_that_cannot_be_written_fails_no_save(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    execute(database, "DROP TABLE bento_snapshot").await;
    let mut meter = Meter::new("A");
    meter.count(5);
    let counters = Counters::default();
    let recording = counters.record();
    save!(db, &mut meter);
    drop(recording);
    assert_eq!(counters.get(telemetry::FAILED_SNAPSHOTS), 1);
    let stored = database.number("SELECT COUNT(*) FROM bento_event").await;
    assert_eq!((stored, meter.version), (5, 5));
    assert_eq!(database.outbox().await.len(), 5);
}

async fn a_load_of_many_events_asks_for_a_snapshot(database: &TestDatabase) {
    let (db, _) = metered(database, 6).await;
    execute(database, "DELETE FROM bento_snapshot").await;
    let mut loaded: Meter = load(&db).await;
    loaded.count(1);
    save!(db, &mut loaded);
    assert_eq!(snapshots(database).await, [7]);
    let mut loaded: Meter = load(&db).await;
    loaded.count(1);
    save!(db, &mut loaded);
    assert_eq!(
        snapshots(database).await,
        [7],
        "not before the tail is long"
    );
}

async fn a_model_is_loaded_from_its_snapshot(database: &TestDatabase) {
    let schema = Schema::new(database.backend());
    let create = schema.create_table_from_entity(row::Entity);
    database.db.execute(&create).await.unwrap();
    let db = OutboxConnection::new(database.db.clone());
    let mut meter = row::Model {
        id: "A".to_owned(),
        ..row::Model::default()
    };
    meter.count(6);
    save!(db, &mut meter);
    assert_eq!(snapshots(database).await, [6]);
    change_states(database, CHANGED).await;
    let mut loaded: row::Model = load(&db).await;
    assert_eq!((loaded.version, loaded.total), (6, 1000));
    loaded.count(1);
    save!(db, &mut loaded);
    assert_eq!(load::<row::Model>(&db).await.version, 7);
}

async fn a_snapshot_that_an_insert_has_left_out_is_kept_later(database: &TestDatabase) {
    let schema = Schema::new(database.backend());
    let create = schema.create_table_from_entity(row::Entity);
    database.db.execute(&create).await.unwrap();
    let db = OutboxConnection::new(database.db.clone());
    let mut meter = row::Model {
        id: "A".to_owned(),
        ..row::Model::default()
    };
    meter.count(6);
    let tx = db.begin().await.unwrap();
    tx.insert(&mut meter).await.unwrap();
    meter.count(5);
    tx.update(&mut meter).await.unwrap();
    tx.commit().await.unwrap();
    assert!(snapshots(database).await.is_empty());
    let mut loaded: row::Model = load(&db).await;
    loaded.count(1);
    save!(db, &mut loaded);
    assert_eq!(snapshots(database).await, [12]);
}

async fn snapshots_are_counted_by_type(database: &TestDatabase) {
    let (db, _) = metered(database, 5).await;
    let mut newer: wider::Meter = load(&db).await;
    newer.count();
    save!(db, &mut newer);
    let counted = DatabaseEvents::new(db).stored_aggregates().await.unwrap();
    let meters = StoredAggregates {
        aggregate_type: "meter".to_owned(),
        aggregates: 1,
        events: 6,
        snapshots: 2,
    };
    assert_eq!(counted, [meters]);
}
