//! `insert` and `update` of a transaction write the row and hand over the events.

use bento_core::PendingEvents;
use bento_core::unit_of_work::FrameError;
use bento_seaorm::Error;
use sea_orm::{ActiveModelTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, ModelTrait};
use uuid::Uuid;

use crate::support::{TestDatabase, on_every_back_end};
use crate::warehouse::{self, Packed, packed, parcel, shelf, token};

on_every_back_end!(
    an_insert_writes_every_column_and_the_events,
    an_insert_brings_back_values_of_the_database_and_hooks,
    an_update_writes_every_column_and_the_events,
    an_update_that_changes_nothing_is_none_of_a_row_that_is_gone,
    an_update_of_a_row_that_is_gone_is_told_with_its_key,
    events_raised_before_the_key_was_generated_get_it,
    events_raised_in_the_scope_before_the_key_exists_get_it,
    a_commit_without_the_insert_of_the_key_is_refused,
    a_key_that_the_application_makes_is_kept,
    a_model_of_nothing_but_its_key_is_updated_too,
    a_row_that_is_refused_leaves_the_events_with_the_aggregate,
    a_refusal_of_a_hook_leaves_the_events_with_the_aggregate,
    a_nested_transaction_saves_and_gives_back,
    a_transaction_with_a_nested_one_saves_nothing,
    a_rollback_gives_the_events_of_a_save_back,
);

fn pack(shelf: &mut shelf::Model, what: &str) {
    shelf.raise(Packed { what: what.into() });
}

async fn an_insert_writes_every_column_and_the_events(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let mut shelf = shelf::new("A", 0);
    pack(&mut shelf, "tea");
    let tx = db.begin().await.unwrap();
    tx.insert(&mut shelf).await.unwrap();
    pack(&mut shelf, "more tea");
    tx.commit().await.unwrap();
    assert!(shelf.events.is_empty());
    let stored = shelf::Entity::find_by_id(("A".to_owned(), 0))
        .one(&database.db)
        .await
        .unwrap();
    assert_eq!(stored, Some(shelf));
    let of = |what: &str| ("A:0".to_owned(), what.to_owned(), None);
    assert_eq!(packed(database).await, [of("tea"), of("more tea")]);
}

async fn an_insert_brings_back_values_of_the_database_and_hooks(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let mut parcel = parcel::new("tea");
    let tx = db.begin().await.unwrap();
    tx.insert(&mut parcel).await.unwrap();
    tx.commit().await.unwrap();
    assert_ne!(parcel.id, 0);
    assert_eq!(
        (parcel.label.as_str(), parcel.place.as_str()),
        ("tea, inserted", "here!")
    );
    assert_eq!(parcel.scratch, 7, "a field without a column stays");
    let stored = parcel::Entity::find_by_id(parcel.id)
        .one(&database.db)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (stored.label.as_str(), stored.place.as_str()),
        ("tea, inserted", "here")
    );
    assert_eq!(
        packed(database).await,
        [(parcel.id.to_string(), "seen by a hook".to_owned(), None)]
    );

    let tx = db.begin().await.unwrap();
    tx.update(&mut parcel).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        (parcel.label.as_str(), parcel.place.as_str()),
        ("tea, inserted, updated", "here!!")
    );
}

async fn an_update_writes_every_column_and_the_events(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    shelf::new("A", 1)
        .into_active_model()
        .insert(&database.db)
        .await
        .unwrap();
    shelf::new("A", 2)
        .into_active_model()
        .insert(&database.db)
        .await
        .unwrap();
    db.transaction_async(async |tx| {
        let mut shelf = shelf::Entity::find_by_id(("A".to_owned(), 1))
            .one(tx)
            .await?
            .expect("it is there");
        shelf.label = "full".into();
        pack(&mut shelf, "tea");
        tx.update(&mut shelf).await
    })
    .await
    .unwrap();
    let labels = shelf::Entity::find().all(&database.db).await.unwrap();
    let mut labels: Vec<_> = labels
        .into_iter()
        .map(|shelf| (shelf.number, shelf.label))
        .collect();
    labels.sort();
    assert_eq!(labels, [(1, "full".to_owned()), (2, "empty".to_owned())]);
    assert_eq!(
        packed(database).await,
        [("A:1".to_owned(), "tea".to_owned(), None)]
    );
}

async fn an_update_that_changes_nothing_is_none_of_a_row_that_is_gone(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let mut shelf = shelf::new("A", 1);
    let tx = db.begin().await.unwrap();
    tx.insert(&mut shelf).await.unwrap();
    tx.update(&mut shelf).await.unwrap();
    tx.update(&mut shelf).await.unwrap();
    tx.commit().await.unwrap();
}

async fn an_update_of_a_row_that_is_gone_is_told_with_its_key(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let mut shelf = shelf::new("A", 1);
    pack(&mut shelf, "tea");
    let tx = db.begin().await.unwrap();
    let refused = tx.update(&mut shelf).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Gone { aggregate_type: "shelf", id } if id == "A:1"),
        "{refused:?}"
    );
    assert_eq!(shelf.take().len(), 1, "its event is with it");
    tx.commit().await.unwrap();
    assert!(packed(database).await.is_empty());

    let swallowed = db
        .transaction_async(async |tx| {
            let mut shelf = shelf::new("A", 1);
            pack(&mut shelf, "tea");
            let _ = tx.update(&mut shelf).await;
            Ok::<_, Error>(())
        })
        .await
        .unwrap_err();
    assert!(
        swallowed.to_string().contains("a statement failed"),
        "{swallowed}"
    );
    assert!(packed(database).await.is_empty());
}

async fn events_raised_before_the_key_was_generated_get_it(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let mut parcel = parcel::new("tea");
    parcel.raise(Packed { what: "tea".into() });
    let tx = db.begin().await.unwrap();
    tx.insert(&mut parcel).await.unwrap();
    parcel.raise(Packed {
        what: "more tea".into(),
    });
    tx.commit().await.unwrap();
    let of = |what: &str| (parcel.id.to_string(), what.to_owned(), None);
    assert_eq!(
        packed(database).await,
        [of("tea"), of("seen by a hook"), of("more tea")]
    );
}

async fn events_raised_in_the_scope_before_the_key_exists_get_it(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let id = db
        .transaction_async(async |tx| {
            let mut parcel = parcel::new("tea");
            parcel.raise(Packed { what: "tea".into() });
            tx.transaction_async(async |nested| nested.insert(&mut parcel).await)
                .await?;
            parcel.raise(Packed {
                what: "more tea".into(),
            });
            Ok::<_, Error>(parcel.id)
        })
        .await
        .unwrap();
    let of = |what: &str| (id.to_string(), what.to_owned(), None);
    assert_eq!(
        packed(database).await,
        [of("tea"), of("seen by a hook"), of("more tea")]
    );
}

async fn a_commit_without_the_insert_of_the_key_is_refused(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let refused = db
        .transaction_async(async |_| {
            parcel::new("tea").raise(Packed { what: "tea".into() });
            Ok::<_, Error>(())
        })
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("before `parcel` had an id"),
        "{refused}"
    );
}

async fn a_key_that_the_application_makes_is_kept(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let (mut token, mut parcel) = (
        token::Model {
            id: Uuid::nil(),
            events: PendingEvents::default(),
        },
        parcel::new("a"),
    );
    token.raise(Packed { what: "nil".into() });
    parcel.id = 42;
    let tx = db.begin().await.unwrap();
    tx.insert(&mut token).await.unwrap();
    tx.insert(&mut parcel).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((token.id, parcel.id), (Uuid::nil(), 42));
    assert_eq!(packed(database).await[0].0, Uuid::nil().to_string());
}

async fn a_model_of_nothing_but_its_key_is_updated_too(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let mut token = token::Model {
        id: Uuid::now_v7(),
        events: PendingEvents::default(),
    };
    let tx = db.begin().await.unwrap();
    assert!(matches!(
        tx.update(&mut token).await,
        Err(Error::Gone { .. })
    ));
    tx.insert(&mut token).await.unwrap();
    token.raise(Packed {
        what: "itself".into(),
    });
    tx.update(&mut token).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(packed(database).await.len(), 1);
}

async fn a_row_that_is_refused_leaves_the_events_with_the_aggregate(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    shelf::new("A", 1)
        .into_active_model()
        .insert(&database.db)
        .await
        .unwrap();
    let mut shelf = shelf::new("A", 1);
    pack(&mut shelf, "tea");
    let tx = db.begin().await.unwrap();
    let refused = tx.insert(&mut shelf).await.unwrap_err();
    assert!(matches!(refused, Error::Database(_)), "{refused:?}");
    tx.rollback().await.unwrap();
    shelf.number = 2;
    assert_eq!(shelf.take().len(), 1);
}

async fn a_refusal_of_a_hook_leaves_the_events_with_the_aggregate(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let mut parcel = parcel::new("refused");
    parcel.raise(Packed { what: "tea".into() });
    let tx = db.begin().await.unwrap();
    let refused = tx.insert(&mut parcel).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Database(DbErr::Custom(reason)) if reason == "refused by a hook"),
        "{refused:?}"
    );
    tx.commit().await.unwrap();
    assert_eq!((parcel.id, parcel.take().len()), (0, 1));
    assert!(packed(database).await.is_empty());
}

async fn a_nested_transaction_saves_and_gives_back(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let mut shelf = shelf::new("A", 1);
    pack(&mut shelf, "tea");
    let tx = db.begin().await.unwrap();
    let nested = tx.begin().await.unwrap();
    nested.insert(&mut shelf).await.unwrap();
    nested.rollback().await.unwrap();
    assert!(matches!(
        tx.update(&mut shelf).await,
        Err(Error::Gone { .. })
    ));
    let nested = tx.begin().await.unwrap();
    nested.insert(&mut shelf).await.unwrap();
    nested.commit().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        packed(database).await,
        [("A:1".to_owned(), "tea".to_owned(), None)]
    );
    assert_eq!(database.number("SELECT count(*) FROM shelf").await, 1);
}

async fn a_transaction_with_a_nested_one_saves_nothing(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let tx = db.begin().await.unwrap();
    let nested = tx.begin().await.unwrap();
    let refused = tx.insert(&mut shelf::new("A", 1)).await.unwrap_err();
    assert!(
        matches!(refused, Error::Frame(FrameError::ChildOpen)),
        "{refused:?}"
    );
    nested.commit().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(database.number("SELECT count(*) FROM shelf").await, 0);
}

async fn a_rollback_gives_the_events_of_a_save_back(database: &TestDatabase) {
    let db = warehouse::open(database).await;
    let mut shelf = shelf::new("A", 1);
    pack(&mut shelf, "tea");
    let tx = db.begin().await.unwrap();
    tx.insert(&mut shelf).await.unwrap();
    drop(tx);
    let tx = db.begin().await.unwrap();
    tx.insert(&mut shelf).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        packed(database).await,
        [("A:1".to_owned(), "tea".to_owned(), None)]
    );
    shelf.clone().delete(&database.db).await.unwrap();
    assert!(matches!(
        db.begin().await.unwrap().update(&mut shelf).await,
        Err(Error::Gone { .. })
    ));
    db.execute_unprepared("SELECT 1").await.unwrap();
}
