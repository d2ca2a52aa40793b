//! Both handlers, with an event that comes again: after a crash, and when it was handled.

use bento::prelude::*;
use bento_testkit::{database_in_memory, handling};
use sea_orm::{ConnectionTrait, EntityTrait, Schema, Set};

use crate::mailer::Mailer;
use crate::{OrderConfirmed, confirm, reserve, stock};

fn confirmed(packets: i64) -> OrderConfirmed {
    let order_id = "A-1".to_owned();
    OrderConfirmed { order_id, packets }
}

/// A database with 20 packets of tea.
async fn database() -> OutboxConnection {
    let db = database_in_memory().await;
    let table = Schema::new(db.get_database_backend()).create_table_from_entity(stock::Entity);
    db.execute(&table).await.expect("the table is new");
    let (item, free) = (Set("tea".to_owned()), Set(20));
    let tea = stock::ActiveModel { item, free };
    let inserted = stock::Entity::insert(tea).exec(&db).await;
    inserted.expect("the table is empty");
    db
}

async fn free(db: &OutboxConnection) -> i64 {
    let tea = stock::Entity::find_by_id("tea").one(db).await;
    tea.expect("the table is there").expect("there is tea").free
}

#[tokio::test]
async fn packets_are_reserved_once() {
    let db = database().await;
    let handled = handling(confirmed(3))
        .by(reserve::handler(), &db)
        .once(async || free(&db).await)
        .await;
    assert_eq!(handled.effect, 17);
}

#[tokio::test]
async fn too_large_an_order_is_a_dead_letter() {
    let db = database().await;
    let handled = handling(confirmed(100)).by(reserve::handler(), &db);
    handled.run().await.fails_permanently();
    assert_eq!(free(&db).await, 20);
}

#[tokio::test]
async fn one_mail_is_sent() {
    let (db, mailer) = (database().await, Mailer::default());
    let handled = handling(confirmed(3))
        .with_state(mailer.clone())
        .by(confirm::handler(), &db)
        .once(async || mailer.counts().1)
        .await;
    assert_eq!(
        (handled.effect, mailer.counts().0),
        (1, 2),
        "two calls, one mail"
    );
}
