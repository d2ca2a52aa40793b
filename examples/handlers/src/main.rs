//! cargo run -p handlers
//!
//! Two handlers in the same process get each event once: one reserves stock in a transaction, the
//! other sends a mail under a key. `DATABASE_URL` switches from SQLite to PostgreSQL or MariaDB.
#![allow(
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "an example prints, and other crates do not depend on it"
)]

mod mailer;
mod stock;
#[cfg(test)]
mod tests;

use std::{env, fs};

use bento::dead_letter::{DeadLetterQuery, Operator};
use bento::handlers::State;
use bento::prelude::*;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DbErr, EntityTrait, Schema, Set};

use crate::mailer::Mailer;

#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Debug)]
pub struct OrderConfirmed {
    pub order_id: String,
    pub packets: i64,
}

#[aggregate(events(OrderConfirmed))]
#[derive(Debug)]
pub struct Order {
    id: String,
    events: PendingEvents,
}

impl Order {
    fn confirm(id: &str, packets: i64) {
        let (id, events) = (id.to_owned(), PendingEvents::default());
        let mut order = Self { id, events };
        let order_id = order.id.clone();
        order.raise(OrderConfirmed { order_id, packets });
    }
}

/// Reserves what was ordered, in the transaction that records the event as handled.
#[event_handler(name = "stock.reserve", from = beginning)]
async fn reserve(event: OrderConfirmed, tx: &OutboxTransaction) -> Result<(), HandleError> {
    if stock::take(tx, "tea", event.packets).await? {
        Ok(())
    } else {
        Err(HandleError::permanent("there is too little tea"))
    }
}

/// Sends a mail, each time under the same key. Any error is tried again.
#[event_handler(name = "mail.confirmation", timeout = "20s", from = beginning)]
async fn confirm(
    event: OrderConfirmed,
    key: IdempotencyKey,
    State(mailer): State<Mailer>,
) -> Result<(), HandleError> {
    mailer.send(key, &event.order_id).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Report> {
    Registry::global().validate()?;
    let file = env::temp_dir().join(format!("bento-handlers-{}.sqlite", EventId::new()));
    let sqlite = format!("sqlite://{}?mode=rwc", file.display());
    let url = env::var("DATABASE_URL").unwrap_or(sqlite);
    let options = ConnectOptions::new(url).sqlx_logging(false).to_owned();
    let database = Database::connect(options.clone()).await?;
    bento::migrate(&database).await?;
    let table =
        Schema::new(database.get_database_backend()).create_table_from_entity(stock::Entity);
    database.execute(&table).await?;
    let (item, free) = (Set("tea".to_owned()), Set(20));
    let tea = stock::ActiveModel { item, free };
    stock::Entity::insert(tea).exec(&database).await?;

    println!("1. three orders are confirmed, of 2, 3 and 100 packets of tea");
    let db = OutboxConnection::new(database.clone());
    for (id, packets) in [("A-1", 2), ("A-2", 3), ("A-3", 100)] {
        db.transaction_async(async |_| {
            Order::confirm(id, packets);
            Ok::<_, DbErr>(())
        })
        .await?;
    }

    println!("2. a relay brings each event to both handlers");
    // The handlers have a pool of their own.
    let pool = Database::connect(options).await?;
    let mailer = Mailer::default();
    let dispatcher = Handlers::registered()
        .state(mailer.clone())
        .build(&OutboxConnection::new(pool.clone()))?;
    let store = OutboxStore::new(database.clone());
    Relay::builder(store.clone(), dispatcher)
        .retry(RetryPolicy::immediate(3))
        .run_until_empty()
        .await?;

    let left = stock::Entity::find_by_id("tea").one(&database).await?;
    let left = left.map_or(0, |tea| tea.free);
    println!("   stock.reserve: {left} of 20 packets are left");
    let (calls, mails) = mailer.counts();
    println!("   mail.confirmation: {calls} calls, {mails} mails");

    println!("3. what a handler cannot do is a dead letter of this handler alone");
    for letter in Operator::new(&store, "alice")
        .list(&DeadLetterQuery::default())
        .await?
    {
        let order = &letter.envelope.aggregate_id;
        println!("   {} for {order}: {}", letter.route, letter.error);
    }
    pool.close().await?;
    database.close().await?;
    if file.exists() {
        fs::remove_file(file)?;
    }
    Ok(())
}
