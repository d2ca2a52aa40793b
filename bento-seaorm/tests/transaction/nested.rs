//! Savepoints, by closure and by hand, to any depth and in any order.

use bento_core::raise;
use bento_core::unit_of_work::FrameError;
use bento_seaorm::{Error, OutboxTransaction};
use sea_orm::{ConnectionTrait, DbErr, IsolationLevel};

use crate::shop::{self, Order, ShopOpened, is_untouched, orders};
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    a_nested_closure_that_fails_takes_only_its_own_events,
    a_hand_begun_child_takes_its_events_with_it,
    savepoints_nest_to_any_depth,
    many_savepoints_one_after_the_other_are_undone_alone,
    a_parent_is_refused_while_its_child_is_open,
    a_commit_beside_an_open_child_rolls_everything_back,
    a_dropped_child_is_undone_before_the_next_statement,
    a_dropped_child_is_undone_before_the_commit,
    frames_may_be_dropped_in_any_order,
    a_child_outliving_its_parent_can_do_nothing,
    a_grandchild_is_not_committed_if_its_grandparent_rolls_back,
    two_children_begun_at_once_are_stacked,
    a_savepoint_has_no_options_of_its_own,
    an_early_flush_in_a_savepoint_is_undone_with_it,
    collecting_in_a_savepoint_gives_back_when_it_is_rolled_back,
);

fn opened(name: &str) -> ShopOpened {
    ShopOpened { name: name.into() }
}

async fn names(database: &TestDatabase) -> Vec<String> {
    let name = |payload: String| payload.replace(r#"{"name":""#, "").replace(r#""}"#, "");
    database
        .outbox()
        .await
        .into_iter()
        .map(|row| name(row.payload))
        .collect()
}

async fn a_nested_closure_that_fails_takes_only_its_own_events(database: &TestDatabase) {
    let db = shop::open(database).await;
    db.transaction_async(async |tx| {
        Order::place(1).insert(tx).await?;
        let failed = tx
            .transaction_async(async |nested| {
                Order::place(2).insert(nested).await?;
                Err::<(), _>(DbErr::Custom("not this one".into()))
            })
            .await;
        assert!(failed.is_err());
        tx.transaction_async(async |nested| Order::place(3).insert(nested).await)
            .await?;
        Ok::<_, DbErr>(())
    })
    .await
    .unwrap();
    assert_eq!(orders(database).await, [1, 3]);
    let rows = database.outbox().await;
    assert_eq!(
        rows.iter()
            .map(|row| row.aggregate_id.as_str())
            .collect::<Vec<_>>(),
        ["1", "3"]
    );
}

async fn a_hand_begun_child_takes_its_events_with_it(database: &TestDatabase) {
    let db = shop::open(database).await;
    db.transaction_async(async |tx| {
        raise(opened("root"))?;
        let child = tx.begin().await?;
        raise(opened("rolled back"))?;
        child.rollback().await?;
        let child = tx.begin().await?;
        raise(opened("dropped"))?;
        drop(child);
        let child = tx.begin().await?;
        raise(opened("committed"))?;
        child.commit().await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    })
    .await
    .map_err(|error| error.to_string())
    .unwrap();
    assert_eq!(names(database).await, ["root", "committed"]);
}

async fn savepoints_nest_to_any_depth(database: &TestDatabase) {
    let db = shop::open(database).await;
    let tx = db.begin().await.unwrap();
    let mut open: Vec<OutboxTransaction> = Vec::new();
    for depth in 1..=20 {
        let child = open.last().unwrap_or(&tx).begin().await.unwrap();
        child
            .scope(async { Order::place(depth).insert(&child).await })
            .await
            .unwrap();
        open.push(child);
    }
    for depth in (1..=20).rev() {
        let child = open.pop().unwrap();
        if depth == 11 {
            child.rollback().await.unwrap()
        } else {
            child.commit().await.unwrap()
        }
    }
    tx.commit().await.unwrap();
    assert_eq!(orders(database).await, (1..=10).collect::<Vec<_>>());
    assert_eq!(database.outbox().await.len(), 10);
}

async fn many_savepoints_one_after_the_other_are_undone_alone(database: &TestDatabase) {
    let db = shop::open(database).await;
    let tx = db.begin().await.unwrap();
    for id in 1..=50 {
        let child = tx.begin().await.unwrap();
        child
            .scope(async { Order::place(id).insert(&child).await })
            .await
            .unwrap();
        match id % 3 {
            0 => child.commit().await.unwrap(),
            1 => child.rollback().await.unwrap(),
            _ => drop(child),
        }
    }
    tx.commit().await.unwrap();
    assert_eq!(
        orders(database).await,
        (1..=50).filter(|id| id % 3 == 0).collect::<Vec<_>>()
    );
    assert_eq!(database.outbox().await.len(), 16);
}

fn is_child_open(result: Result<(), Error>) -> bool {
    matches!(result, Err(Error::Frame(FrameError::ChildOpen)))
}

async fn a_parent_is_refused_while_its_child_is_open(database: &TestDatabase) {
    let db = shop::open(database).await;
    let mut order = Order::place(1);
    let tx = db.begin().await.unwrap();
    let child = tx.begin().await.unwrap();
    assert!(is_child_open(tx.collect(&mut order)));
    assert!(is_child_open(tx.flush().await));
    assert!(is_child_open(tx.enqueue("topic", "", "bytes")));
    child.commit().await.unwrap();
    tx.collect(&mut order).unwrap();
    tx.commit().await.unwrap();
    assert_eq!(database.schemas().await, ["order.placed"]);
}

async fn a_commit_beside_an_open_child_rolls_everything_back(database: &TestDatabase) {
    let db = shop::open(database).await;
    let mut order = Order::place(1);
    let tx = db.begin().await.unwrap();
    tx.collect(&mut order).unwrap();
    order.insert(&tx).await.unwrap();
    let child = tx.begin().await.unwrap();
    assert!(is_child_open(tx.commit().await));
    assert!(
        child.commit().await.is_err(),
        "it was rolled back with its parent"
    );
    assert!(is_untouched(database).await);
    assert_eq!(order.take().len(), 1, "its event is back");
}

async fn a_dropped_child_is_undone_before_the_next_statement(database: &TestDatabase) {
    let db = shop::open(database).await;
    db.transaction_async(async |tx| {
        let child = tx.begin().await?;
        Order::place(1).insert(&child).await?;
        drop(child);
        Order::place(1).insert(tx).await?;
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
    assert_eq!(orders(database).await, [1]);
    assert_eq!(database.outbox().await.len(), 1);
}

async fn a_dropped_child_is_undone_before_the_commit(database: &TestDatabase) {
    let db = shop::open(database).await;
    db.transaction_async(async |tx| {
        let child = tx.begin().await?;
        Order::place(1).insert(&child).await?;
        drop(child);
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
    assert!(is_untouched(database).await);
}

async fn frames_may_be_dropped_in_any_order(database: &TestDatabase) {
    let db = shop::open(database).await;
    let orders_of_three = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for order_of_drops in orders_of_three {
        let tx = db.begin().await.unwrap();
        let child = tx.begin().await.unwrap();
        let grandchild = child.begin().await.unwrap();
        grandchild
            .scope(async { Order::place(1).insert(&grandchild).await })
            .await
            .unwrap();
        let mut frames = [Some(tx), Some(child), Some(grandchild)];
        order_of_drops
            .into_iter()
            .for_each(|frame| drop(frames[frame].take()));
    }
    // Every connection of the pool must be as good as new.
    for id in 1..=10 {
        db.transaction_async(async |tx| Order::place(id).insert(tx).await)
            .await
            .unwrap();
    }
    assert_eq!(orders(database).await, (1..=10).collect::<Vec<_>>());
    assert_eq!(database.outbox().await.len(), 10);
}

async fn a_child_outliving_its_parent_can_do_nothing(database: &TestDatabase) {
    let db = shop::open(database).await;
    let tx = db.begin().await.unwrap();
    let child = tx.begin().await.unwrap();
    drop(tx);
    let refused = child.execute_unprepared("SELECT 1").await.unwrap_err();
    assert!(
        matches!(
            bento_seaorm::bento_error(&refused),
            Some(Error::Frame(FrameError::Ended))
        ),
        "{refused}"
    );
    assert!(child.begin().await.is_err());
    child.rollback().await.unwrap();
    assert!(is_untouched(database).await);
}

async fn a_grandchild_is_not_committed_if_its_grandparent_rolls_back(database: &TestDatabase) {
    let db = shop::open(database).await;
    let tx = db.begin().await.unwrap();
    let child = tx.begin().await.unwrap();
    let grandchild = child.begin().await.unwrap();
    child.rollback().await.unwrap();
    Order::place(1).insert(&tx).await.unwrap();
    assert!(
        is_child_open(tx.commit().await),
        "the connection is still in use"
    );
    drop(grandchild);
    assert!(is_untouched(database).await);
}

async fn two_children_begun_at_once_are_stacked(database: &TestDatabase) {
    let db = shop::open(database).await;
    let tx = db.begin().await.unwrap();
    let (first, second) = tokio::join!(tx.begin(), tx.begin());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(
        is_child_open(first.flush().await),
        "the second is inside the first"
    );
    second
        .scope(async { Order::place(1).insert(&second).await })
        .await
        .unwrap();
    second.commit().await.unwrap();
    first.commit().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(database.schemas().await, ["order.placed"]);
}

async fn a_savepoint_has_no_options_of_its_own(database: &TestDatabase) {
    let db = shop::open(database).await;
    let tx = db.begin().await.unwrap();
    let refused = tx
        .begin_with_config(Some(IsolationLevel::Serializable), None)
        .await;
    assert!(matches!(refused, Err(Error::NestedOptions)));
    tx.begin_with_config(None, None)
        .await
        .unwrap()
        .commit()
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

async fn an_early_flush_in_a_savepoint_is_undone_with_it(database: &TestDatabase) {
    let db = shop::open(database).await;
    db.transaction_async(async |tx| {
        raise(opened("before"))?;
        let child = tx.begin().await?;
        raise(opened("inside"))?;
        child.flush().await?;
        child.rollback().await?;
        raise(opened("after"))?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    })
    .await
    .map_err(|error| error.to_string())
    .unwrap();
    assert_eq!(names(database).await, ["before", "after"]);
}

async fn collecting_in_a_savepoint_gives_back_when_it_is_rolled_back(database: &TestDatabase) {
    let db = shop::open(database).await;
    let mut order = Order::place(1);
    let tx = db.begin().await.unwrap();
    let child = tx.begin().await.unwrap();
    child.collect(&mut order).unwrap();
    child.rollback().await.unwrap();
    tx.commit().await.unwrap();
    assert!(is_untouched(database).await);

    let tx = db.begin().await.unwrap();
    let child = tx.begin().await.unwrap();
    child.collect(&mut order).unwrap();
    child.commit().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(database.schemas().await, ["order.placed"]);
}
