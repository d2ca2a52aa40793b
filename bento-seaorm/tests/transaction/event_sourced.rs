//! Event-sourced aggregates in a transaction: appended, loaded, in conflict, rolled back.

use bento_core::event_sourced::StreamFault;
use bento_relay::event_store::Moment;
use bento_seaorm::{Error, OutboxConnection, OutboxTransaction};
use sea_orm::{
    ConnectionTrait, DbBackend, EntityTrait as _, IsolationLevel, Schema, TransactionOptions,
};

use crate::ledger::Ledger;
use crate::meter::row;
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    a_save_appends_to_the_store_and_to_the_outbox,
    an_aggregate_is_loaded_as_it_was_saved,
    many_events_are_appended_and_loaded,
    of_two_saves_the_second_is_a_conflict_with_both_numbers,
    two_new_aggregates_of_one_id_are_a_conflict,
    a_rolled_back_savepoint_leaves_nothing,
    after_a_rollback_the_same_aggregate_is_saved_again,
    an_aggregate_is_loaded_at_a_moment,
    an_event_that_was_not_appended_refuses_the_commit,
    a_save_without_an_event_writes_nothing,
    a_hole_is_told,
    an_event_id_that_is_stored_is_refused,
    a_model_whose_events_are_not_appended_is_as_it_was,
    a_model_without_a_new_event_is_not_saved_and_can_be_updated,
    a_model_without_an_event_is_not_stored,
);

async fn save(db: &OutboxConnection, ledger: &mut Ledger) {
    let tx = db.begin().await.unwrap();
    tx.save(ledger).await.unwrap();
    tx.commit().await.unwrap();
}

async fn loaded(db: &OutboxConnection, id: &str) -> Option<Ledger> {
    let tx = db.begin().await.unwrap();
    let ledger = tx.load::<Ledger>(id).await.unwrap();
    tx.rollback().await.unwrap();
    ledger
}

async fn load(tx: &OutboxTransaction, id: &str) -> Ledger {
    tx.load::<Ledger>(id).await.unwrap().expect("it is stored")
}

/// The numbers of an aggregate's events in the store.
async fn sequences(database: &TestDatabase, id: &str) -> Vec<i64> {
    let sql = format!("SELECT sequence FROM bento_event WHERE aggregate_id = '{id}' ORDER BY 1");
    let statement = sea_orm::Statement::from_string(database.backend(), sql);
    let rows = database.db.query_all_raw(statement).await.unwrap();
    rows.iter()
        .map(|row| row.try_get_by_index(0).unwrap())
        .collect()
}

fn numbers(n: i64) -> Vec<i64> {
    (1..=n).collect()
}

async fn a_save_appends_to_the_store_and_to_the_outbox(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    let mut ledger = Ledger::open("A", "Ann");
    ledger.credit(5);
    assert_eq!((ledger.cents, ledger.version), (5, 0), "applied at once");
    save(&db, &mut ledger).await;
    assert_eq!(ledger.version, 2);
    ledger.credit(7);
    save(&db, &mut ledger).await;
    assert_eq!((ledger.version, ledger.cents), (3, 12));
    assert_eq!(sequences(database, "A").await, numbers(3));
    let outbox = database.outbox().await;
    let sequences: Vec<_> = outbox.iter().filter_map(|row| row.sequence).collect();
    assert_eq!(sequences, numbers(3));
    assert_eq!(outbox[2].payload, r#"{"cents":7}"#);
    assert_eq!(outbox[2].aggregate_type, "ledger");
}

async fn an_aggregate_is_loaded_as_it_was_saved(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    assert!(loaded(&db, "A").await.is_none());
    assert!(loaded(&db, "").await.is_none(), "no event has this id");
    let mut ledger = Ledger::open("A", "Ann");
    ledger.credit(5);
    save(&db, &mut ledger).await;
    let found = loaded(&db, "A").await.unwrap();
    assert_eq!(
        (
            found.id.as_str(),
            found.version,
            found.owner.as_str(),
            found.cents
        ),
        ("A", 2, "Ann", 5)
    );
}

/// More than one statement takes on SQLite, and than UNNEST begins with on PostgreSQL.
async fn many_events_are_appended_and_loaded(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    let mut ledger = Ledger::open("A", "Ann");
    for _ in 1..5_000 {
        ledger.credit(1);
    }
    save(&db, &mut ledger).await;
    let mut found = loaded(&db, "A").await.unwrap();
    assert_eq!((found.version, found.cents), (5_000, 4_999));
    for _ in 0..30 {
        found.credit(1);
    }
    save(&db, &mut found).await;
    assert_eq!(sequences(database, "A").await, numbers(5_030));
    let outbox = database.outbox().await;
    let sequences: Vec<_> = outbox.iter().filter_map(|row| row.sequence).collect();
    assert_eq!(sequences, numbers(5_030), "in their order");
}

async fn of_two_saves_the_second_is_a_conflict_with_both_numbers(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    save(&db, &mut Ledger::open("A", "Ann")).await;
    let (mut one, mut other) = (
        loaded(&db, "A").await.unwrap(),
        loaded(&db, "A").await.unwrap(),
    );
    one.credit(1);
    one.credit(1);
    save(&db, &mut one).await;
    other.credit(2);
    let tx = db.begin().await.unwrap();
    let conflict = tx.save(&mut other).await.unwrap_err();
    assert!(
        matches!(
            &conflict,
            Error::Conflict { aggregate_type: "ledger", id, expected: 1, actual: Some(3), .. }
                if id == "A"
        ),
        "{conflict:?}"
    );
    assert!(
        conflict.to_string().starts_with(
            "ledger `A` was changed by another transaction: expected version 1, found 3"
        ),
        "{conflict}"
    );
    tx.rollback().await.unwrap();
    assert_eq!((other.version, other.pending().len()), (1, 1), "as it was");
    assert_eq!(sequences(database, "A").await, numbers(3));
    assert_eq!(database.outbox().await.len(), 3);
    other.discard();
}

async fn two_new_aggregates_of_one_id_are_a_conflict(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    save(&db, &mut Ledger::open("A", "Ann")).await;
    let mut second = Ledger::open("A", "Bob");
    let tx = db.begin().await.unwrap();
    let conflict = tx.save(&mut second).await.unwrap_err();
    assert!(
        matches!(
            conflict,
            Error::Conflict {
                expected: 0,
                actual: Some(1),
                ..
            }
        ),
        "{conflict:?}"
    );
    tx.rollback().await.unwrap();
    second.discard();
}

async fn a_rolled_back_savepoint_leaves_nothing(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    let mut ledger = Ledger::open("A", "Ann");
    let tx = db.begin().await.unwrap();
    tx.save(&mut ledger).await.unwrap();
    let nested = tx.begin().await.unwrap();
    ledger.credit(1);
    nested.save(&mut ledger).await.unwrap();
    let mut other = Ledger::open("B", "Bob");
    nested.save(&mut other).await.unwrap();
    nested.rollback().await.unwrap();
    assert_eq!(ledger.pending().len(), 1, "the event is back");
    let mut fresh = load(&tx, "A").await;
    fresh.credit(3);
    tx.save(&mut fresh).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(sequences(database, "A").await, numbers(2));
    assert!(sequences(database, "B").await.is_empty());
    assert_eq!(database.outbox().await.len(), 2);
    assert_eq!(loaded(&db, "A").await.unwrap().cents, 3);
    ledger.discard();
    other.discard();
}

async fn after_a_rollback_the_same_aggregate_is_saved_again(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    let mut ledger = Ledger::open("A", "Ann");
    let tx = db.begin().await.unwrap();
    tx.save(&mut ledger).await.unwrap();
    tx.rollback().await.unwrap();
    ledger.credit(4);
    save(&db, &mut ledger).await;
    assert_eq!(ledger.version, 2);
    assert_eq!(sequences(database, "A").await, numbers(2));
}

async fn an_aggregate_is_loaded_at_a_moment(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    let mut ledger = Ledger::open("A", "Ann");
    let day = |day: i64| chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::days(day);
    for number in 1..=3 {
        ledger.raise_with(crate::ledger::Credited { cents: number }, |metadata| {
            metadata.with_occurred_at(day(20_000 + number))
        });
    }
    save(&db, &mut ledger).await;
    let tx = db.begin().await.unwrap();
    let at = async |moment| {
        let found = tx.load_at::<Ledger>("A", moment).await.unwrap();
        found.map(|found| (found.version, found.cents))
    };
    assert_eq!(at(Moment::Sequence(0)).await, None);
    assert_eq!(at(Moment::Sequence(3)).await, Some((3, 3)));
    assert_eq!(at(Moment::Sequence(99)).await, Some((4, 6)));
    // The first event occurred now, and stands before those that say an earlier time.
    assert_eq!(at(Moment::Time(day(20_000))).await, None);
    assert_eq!(at(Moment::Time(day(20_002))).await, Some((3, 3)));
    let mut old = tx
        .load_at::<Ledger>("A", Moment::Sequence(2))
        .await
        .unwrap()
        .unwrap();
    old.credit(1);
    let conflict = tx.save(&mut old).await.unwrap_err();
    assert!(
        matches!(
            conflict,
            Error::Conflict {
                expected: 2,
                actual: Some(4),
                ..
            }
        ),
        "{conflict:?}"
    );
    old.discard();
}

async fn an_event_that_was_not_appended_refuses_the_commit(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    let mut ledger = Ledger::open("A", "Ann");
    let tx = db.begin().await.unwrap();
    tx.save(&mut ledger).await.unwrap();
    tx.scope(async { ledger.credit(1) }).await;
    let refused = tx.commit().await.unwrap_err();
    assert!(
        refused.to_string().contains("was not saved after that"),
        "{refused}"
    );
    assert!(sequences(database, "A").await.is_empty());
    ledger.discard();
}

async fn a_save_without_an_event_writes_nothing(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    let mut ledger = Ledger::default();
    save(&db, &mut ledger).await;
    assert_eq!(ledger.version, 0);
    assert_eq!(
        database
            .number("SELECT COUNT(*) FROM bento_event_stream")
            .await,
        0
    );
}

async fn a_hole_is_told(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    let mut ledger = Ledger::open("A", "Ann");
    ledger.credit(1);
    ledger.credit(2);
    save(&db, &mut ledger).await;
    let delete = "DELETE FROM bento_event WHERE sequence = 2";
    database.db.execute_unprepared(delete).await.unwrap();
    let tx = db.begin().await.unwrap();
    let broken = tx.load::<Ledger>("A").await.unwrap_err();
    assert!(
        matches!(&broken, Error::Stream { id, fault, .. }
            if id == "A" && matches!(**fault, StreamFault::Hole { expected: 2, found: 3 })),
        "{broken:?}"
    );
}

async fn an_event_id_that_is_stored_is_refused(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    let id = bento_core::EventId::new();
    let mut ledger = Ledger::open("A", "Ann");
    ledger.raise_with(crate::ledger::Credited { cents: 1 }, |metadata| {
        metadata.with_event_id(id)
    });
    save(&db, &mut ledger).await;
    let mut again = Ledger::open("B", "Ann");
    again.raise_with(crate::ledger::Credited { cents: 1 }, |metadata| {
        metadata.with_event_id(id)
    });
    let tx = db.begin().await.unwrap();
    let refused = tx.save(&mut again).await.unwrap_err();
    assert!(
        matches!(&refused, Error::AlreadyStored { event_ids, .. } if event_ids.contains(&id)),
        "{refused:?}"
    );
    tx.rollback().await.unwrap();
    again.discard();
}

#[tokio::test]
async fn a_serialization_failure_is_a_conflict() {
    crate::support::in_database(DbBackend::Postgres, async |database| {
        let db = OutboxConnection::new(database.db.clone());
        save(&db, &mut Ledger::open("A", "Ann")).await;
        let options = TransactionOptions {
            isolation_level: Some(IsolationLevel::RepeatableRead),
            ..TransactionOptions::default()
        };
        let tx = db.begin_with_options(options).await.unwrap();
        let mut late = load(&tx, "A").await;
        let mut first = loaded(&db, "A").await.unwrap();
        first.credit(1);
        save(&db, &mut first).await;
        late.credit(2);
        let conflict = tx.save(&mut late).await.unwrap_err();
        assert!(
            matches!(
                conflict,
                Error::Conflict {
                    expected: 1,
                    actual: None,
                    source: Some(_),
                    ..
                }
            ),
            "{conflict:?}"
        );
        assert_eq!(database.backend(), DbBackend::Postgres);
        late.discard();
    })
    .await;
}

async fn a_model_whose_events_are_not_appended_is_as_it_was(database: &TestDatabase) {
    let create = Schema::new(database.backend()).create_table_from_entity(row::Entity);
    database.db.execute(&create).await.unwrap();
    let db = OutboxConnection::new(database.db.clone());
    let meter = || {
        let mut meter = row::Model {
            id: "A".to_owned(),
            ..row::Model::default()
        };
        meter.count(2);
        meter
    };
    let tx = db.begin().await.unwrap();
    tx.save(&mut meter()).await.unwrap();
    tx.commit().await.unwrap();
    // Its row is gone, and its events are not.
    row::Entity::delete_many().exec(&database.db).await.unwrap();
    let mut again = meter();
    let tx = db.begin().await.unwrap();
    let refused = tx.save(&mut again).await.unwrap_err();
    assert!(matches!(refused, Error::Conflict { .. }), "{refused}");
    assert_eq!((again.version, again.total), (0, 2));
    tx.rollback().await.unwrap();
    assert_eq!(again.events.len(), 2, "its events are back");
}

/// The table of the meters that have rows.
async fn with_rows(database: &TestDatabase) -> OutboxConnection {
    let schema = Schema::new(database.backend());
    let create = schema.create_table_from_entity(row::Entity);
    database.db.execute(&create).await.unwrap();
    OutboxConnection::new(database.db.clone())
}

async fn total(database: &TestDatabase) -> i64 {
    database.number("SELECT total FROM meter").await
}

/// The second is how a row is written anew after `apply` was changed.
async fn a_model_without_a_new_event_is_not_saved_and_can_be_updated(database: &TestDatabase) {
    let db = with_rows(database).await;
    let mut meter = row::Model {
        id: "A".to_owned(),
        ..row::Model::default()
    };
    meter.count(3);
    let tx = db.begin().await.unwrap();
    tx.save(&mut meter).await.unwrap();
    meter.total = 4;
    tx.save(&mut meter).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((meter.version, total(database).await), (3, 3));

    let tx = db.begin().await.unwrap();
    let mut loaded = tx.load::<row::Model>("A").await.unwrap().unwrap();
    loaded.total = 30;
    tx.update(&mut loaded).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((loaded.version, total(database).await), (3, 30));
    assert_eq!(sequences(database, "A").await, numbers(3));

    let tx = db.begin().await.unwrap();
    loaded.version = 2;
    let conflict = tx.update(&mut loaded).await.unwrap_err();
    let is_told = matches!(
        conflict,
        Error::Conflict {
            expected: 2,
            actual: Some(3),
            ..
        }
    );
    assert!(is_told, "{conflict:?}");
    tx.rollback().await.unwrap();
}

async fn a_model_without_an_event_is_not_stored(database: &TestDatabase) {
    let db = with_rows(database).await;
    let mut meter = row::Model {
        id: "A".to_owned(),
        ..row::Model::default()
    };
    let tx = db.begin().await.unwrap();
    for refused in [tx.save(&mut meter).await, tx.insert(&mut meter).await] {
        let refused = refused.unwrap_err();
        assert!(
            matches!(&refused, Error::NoEvents { aggregate_type: "meter_row", id } if id == "A"),
            "{refused}"
        );
    }
    meter.count(1);
    tx.insert(&mut meter).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((meter.version, total(database).await), (1, 1));
}
