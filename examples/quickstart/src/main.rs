//! cargo run -p quickstart
//!
//! An order service on an embedded SQLite file: orders and their events are committed together, and
//! a relay publishes the events. `DATABASE_URL` switches it to PostgreSQL or MariaDB.
#![allow(
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "an example prints, and nothing depends on it"
)]

mod order;
mod setup;
mod warehouse;

use bento::retry::RetryPolicy;
use bento::{OutboxConnection, OutboxStore, Registry, Relay, TransactionError};
use rust_decimal::Decimal;
use sea_orm::{DbErr, EntityTrait};

use crate::warehouse::Warehouse;

type Result<T, E = bento::Report> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    Registry::global().validate()?;
    let database = setup::connect().await?;
    let db = OutboxConnection::new(database.clone());

    println!("1. a transaction writes the order and its event together");
    place(&db, "A-1", Decimal::new(4200, 2)).await?;
    println!(
        "   A-1 raised order.placed: after the commit {}",
        setup::outbox(&database).await?
    );
    pay(&db, "A-1").await?;
    println!(
        "   A-1 raised order.paid:   after the commit {}",
        setup::outbox(&database).await?
    );

    println!("2. a transaction that fails leaves neither");
    let refused = place_on_credit(&db, "A-2", Decimal::new(1_000_000, 2)).await;
    println!(
        "   A-2 raised order.placed, but there is {}",
        refused.expect_err("the credit is not enough")
    );
    println!("   after the rollback {}", setup::outbox(&database).await?);

    println!("3. an older release has left an event of schema version 1, without a currency");
    setup::insert_version_1_event(&database, "A-0").await?;
    println!("   now {}", setup::outbox(&database).await?);

    println!("4. the relay publishes, the events of each order in their order");
    let warehouse = Warehouse::default();
    let relay = Relay::builder(OutboxStore::new(database.clone()), warehouse.clone())
        .workers(1)
        .start()?;
    warehouse.received(3).await;
    relay.stop().await?;

    println!("5. in the end");
    println!(
        "   {} order, {} events published",
        setup::orders(&database).await?,
        warehouse.count()
    );
    println!("   {}", setup::outbox(&database).await?);
    setup::close(database).await
}

async fn place(db: &OutboxConnection, id: &str, total: Decimal) -> Result<()> {
    db.transaction_async(async |tx| {
        let mut order = order::Model::place(id, total, "EUR");
        tx.save(&mut order).await
    })
    .await?;
    Ok(())
}

async fn pay(db: &OutboxConnection, id: &str) -> Result<()> {
    db.transaction_retrying(RetryPolicy::default(), async |tx| {
        let found = order::Entity::find_by_id(id).one(tx).await?;
        let mut order = found.ok_or_else(|| DbErr::RecordNotFound(id.to_owned()))?;
        order.pay();
        tx.save(&mut order).await
    })
    .await?;
    Ok(())
}

async fn place_on_credit(
    db: &OutboxConnection,
    id: &str,
    total: Decimal,
) -> Result<(), TransactionError<Refused>> {
    db.transaction_async(async |tx| {
        let mut order = order::Model::place(id, total, "EUR");
        tx.save(&mut order).await?;
        Err(Refused::NoCredit(total))
    })
    .await
}

/// The reasons why an order is not placed on credit.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("no credit for {0} EUR")]
    NoCredit(Decimal),
    #[error(transparent)]
    Transaction(#[from] bento::Error),
}
