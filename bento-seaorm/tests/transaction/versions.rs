//! Aggregates with a version: a save finds out whether another transaction was first, and numbers
//! the events.

use bento_seaorm::{Error, OutboxConnection, OutboxTransaction};
use sea_orm::{ConnectionTrait, EntityTrait};

use crate::support::{TestDatabase, on_every_back_end};
use crate::warehouse::account::{Entity, Model};
use crate::warehouse::{self, packed};

on_every_back_end!(
    a_save_inserts_updates_and_numbers,
    a_save_in_the_scope_numbers_what_was_raised_there,
    insert_and_update_keep_the_version_right,
    a_row_that_was_there_before_its_version_is_updated,
    of_two_saves_the_second_is_a_conflict,
    a_save_of_a_row_that_is_gone_is_told_apart,
    a_conflict_that_is_swallowed_publishes_nothing,
    an_event_that_was_not_saved_refuses_the_commit,
    a_rolled_back_savepoint_takes_version_and_numbers_back,
    after_a_rollback_a_save_goes_by_the_version_in_the_database,
    numbers_have_no_holes_and_no_twins_under_concurrent_writers,
);

async fn opened(db: &OutboxConnection) -> Model {
    let mut account = Model::open();
    let tx = db.begin().await.unwrap();
    tx.save(&mut account).await.unwrap();
    tx.commit().await.unwrap();
    account
}

async fn load(tx: &impl ConnectionTrait, id: i64) -> Model {
    Entity::find_by_id(id)
        .one(tx)
        .await
        .unwrap()
        .expect("it is there")
}

/// The payloads of the events in the outbox, and their numbers.
async fn numbered(database: &TestDatabase) -> Vec<(String, i64)> {
    let rows = packed(database).await;
    rows.into_iter()
        .map(|(_, what, sequence)| (what, sequence.expect("it has a number")))
        .collect()
}

fn events<const N: usize>(events: [(&str, i64); N]) -> Vec<(String, i64)> {
    events
        .map(|(what, sequence)| (what.to_owned(), sequence))
        .into()
}

async fn a_save_inserts_updates_and_numbers(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let mut account = Model::open();
    account.deposit(1);
    let tx = db.begin().await.unwrap();
    tx.save(&mut account).await.unwrap();
    assert_eq!(account.version, 2);
    account.deposit(2);
    tx.save(&mut account).await.unwrap();
    assert_eq!(account.version, 3);
    tx.commit().await.unwrap();
    assert!(account.events.is_empty());
    assert_eq!(load(&database.db, account.id).await, account);

    account.deposit(3);
    let tx = db.begin().await.unwrap();
    tx.save(&mut account).await.unwrap();
    tx.save(&mut account).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        (
            load(&database.db, account.id).await.version,
            account.version
        ),
        (5, 5)
    );
    let expected = [
        ("opened", 1),
        ("deposited 1", 2),
        ("deposited 2", 3),
        ("deposited 3", 4),
    ];
    assert_eq!(numbered(database).await, events(expected));
    assert!(
        packed(database)
            .await
            .iter()
            .all(|(id, ..)| *id == account.id.to_string())
    );
}

async fn a_save_in_the_scope_numbers_what_was_raised_there(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let id = opened(&db).await.id;
    db.transaction_async(async |tx| {
        let mut account = load(tx, id).await;
        account.deposit(1);
        let nested = tx.begin().await?;
        account.deposit(2);
        nested.save(&mut account).await?;
        nested.commit().await?;
        account.deposit(3);
        tx.save(&mut account).await
    })
    .await
    .unwrap();
    let expected = [
        ("opened", 1),
        ("deposited 1", 2),
        ("deposited 2", 3),
        ("deposited 3", 4),
    ];
    assert_eq!(numbered(database).await, events(expected));
    let stored = load(&database.db, id).await;
    assert_eq!((stored.version, stored.balance), (4, 6));
}

async fn insert_and_update_keep_the_version_right(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let mut account = Model::open();
    let tx = db.begin().await.unwrap();
    tx.insert(&mut account).await.unwrap();
    account.deposit(1);
    tx.update(&mut account).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        (
            account.version,
            load(&database.db, account.id).await.version
        ),
        (2, 2)
    );
    assert_eq!(
        numbered(database).await,
        events([("opened", 1), ("deposited 1", 2)])
    );
    let mut stale = account.clone();
    stale.version = 1;
    let conflict = db
        .begin()
        .await
        .unwrap()
        .update(&mut stale)
        .await
        .unwrap_err();
    assert!(
        matches!(conflict, Error::Conflict { expected: 1, .. }),
        "{conflict:?}"
    );
}

async fn a_row_that_was_there_before_its_version_is_updated(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let old = "INSERT INTO account (id, balance, lock_version) VALUES (7, 1, 0)";
    database.db.execute_unprepared(old).await.unwrap();
    db.transaction_async(async |tx| {
        let mut account = load(tx, 7).await;
        account.deposit(1);
        tx.update(&mut account).await
    })
    .await
    .unwrap();
    assert_eq!(load(&database.db, 7).await.version, 1);
    assert_eq!(numbered(database).await, events([("deposited 1", 1)]));
}

async fn of_two_saves_the_second_is_a_conflict(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let mut first = opened(&db).await;
    let mut second = first.clone();
    first.deposit(1);
    second.deposit(2);
    let save = async |account: &mut Model| {
        let tx = db.begin().await?;
        tx.save(account).await?;
        tx.commit().await
    };
    save(&mut first).await.unwrap();
    let conflict = save(&mut second).await.unwrap_err();
    let id = first.id.to_string();
    let is_it = |error: &Error| match error {
        Error::Conflict {
            aggregate_type: "account",
            id: of,
            expected: 1,
            actual: Some(2),
            source: None,
        } => *of == id,
        _ => false,
    };
    assert!(is_it(&conflict), "{conflict:?}");
    assert_eq!(
        (second.version, second.take().len()),
        (1, 1),
        "it is as it was"
    );
    assert_eq!(load(&database.db, first.id).await, first);
    assert_eq!(
        numbered(database).await,
        events([("opened", 1), ("deposited 1", 2)])
    );
}

async fn a_save_of_a_row_that_is_gone_is_told_apart(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let mut account = opened(&db).await;
    database
        .db
        .execute_unprepared("DELETE FROM account")
        .await
        .unwrap();
    let gone = db
        .begin()
        .await
        .unwrap()
        .save(&mut account)
        .await
        .unwrap_err();
    assert!(
        matches!(&gone, Error::Gone { id, .. } if *id == account.id.to_string()),
        "{gone:?}"
    );
}

async fn a_conflict_that_is_swallowed_publishes_nothing(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let id = opened(&db).await.id;
    let swallowed = db
        .transaction_async(async |tx| {
            let mut account = load(tx, id).await;
            account.version = 9;
            account.deposit(1);
            tx.save(&mut account).await.expect_err("it is at version 1");
            Ok::<_, Error>(())
        })
        .await;
    swallowed.expect_err("the event says what did not happen");
    assert_eq!(numbered(database).await, events([("opened", 1)]));
}

async fn an_event_that_was_not_saved_refuses_the_commit(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let mut account = opened(&db).await;
    let refused = db
        .transaction_async(async |tx| {
            account.deposit(1);
            tx.save(&mut account).await?;
            account.deposit(2);
            Ok::<_, Error>(())
        })
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("was not saved after that; call `tx.save("),
        "{refused}"
    );
    assert_eq!(load(&database.db, account.id).await.version, 1);
    let tx = db.begin().await.unwrap();
    tx.save(&mut account).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        numbered(database).await,
        events([("opened", 1), ("deposited 1", 2), ("deposited 2", 3)])
    );
}

async fn a_rolled_back_savepoint_takes_version_and_numbers_back(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let id = opened(&db).await.id;
    db.transaction_async(async |tx| {
        let mut account = load(tx, id).await;
        account.deposit(1);
        let nested = tx.begin().await?;
        account.deposit(2);
        nested.save(&mut account).await?;
        nested.flush().await?;
        nested.rollback().await?;
        assert_eq!(
            (account.version, load(tx, id).await.version),
            (3, 1),
            "that in memory stays"
        );
        let mut anew = load(tx, id).await;
        anew.deposit(4);
        account.discard();
        tx.save(&mut anew).await
    })
    .await
    .expect_err("what was raised before the savepoint was not saved");

    db.transaction_async(async |tx| {
        let mut account = load(tx, id).await;
        account.deposit(1);
        let nested = tx.begin().await?;
        account.deposit(2);
        nested.save(&mut account).await?;
        nested.flush().await?;
        nested.rollback().await?;
        tx.save(&mut account).await
    })
    .await
    .unwrap();
    let stored = load(&database.db, id).await;
    assert_eq!((stored.version, stored.balance), (3, 3));
    assert_eq!(
        numbered(database).await,
        events([("opened", 1), ("deposited 1", 2), ("deposited 2", 3)])
    );
}

async fn after_a_rollback_a_save_goes_by_the_version_in_the_database(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let mut account = opened(&db).await;
    account.deposit(1);
    for _ in 0..3 {
        let tx = db.begin().await.unwrap();
        tx.save(&mut account).await.unwrap();
        tx.rollback().await.unwrap();
    }
    let tx = db.begin().await.unwrap();
    tx.save(&mut account).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(load(&database.db, account.id).await, account);
    assert_eq!(
        numbered(database).await,
        events([("opened", 1), ("deposited 1", 2)])
    );
}

async fn numbers_have_no_holes_and_no_twins_under_concurrent_writers(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let id = opened(&db).await.id;
    let deposit = async |tx: &OutboxTransaction, amount: i64| {
        let mut account = load(tx, id).await;
        account.deposit(amount);
        account.deposit(amount);
        tx.save(&mut account).await
    };
    let writer = async |amount: i64| {
        for _ in 0..5 {
            while let Err(error) = db
                .transaction_async(async |tx| deposit(tx, amount).await)
                .await
            {
                let error = Error::from(error);
                assert!(
                    matches!(
                        error,
                        Error::Conflict { .. } | Error::Database(_) | Error::Aborted { .. }
                    ),
                    "{error:?}"
                );
            }
        }
    };
    tokio::join!(writer(1), writer(10), writer(100));
    let stored = load(&database.db, id).await;
    assert_eq!((stored.version, stored.balance), (31, 2 * 5 * 111));
    let numbers: Vec<i64> = numbered(database)
        .await
        .into_iter()
        .map(|(_, number)| number)
        .collect();
    assert_eq!(numbers, (1..=31).collect::<Vec<_>>());
}
