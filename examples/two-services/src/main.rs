//! cargo run -p two-services
//!
//! A shop and a stock, each with its own outbox and inbox, talk through a broker: one in memory, or
//! NATS if `NATS_URL` names it. `DATABASE_URL` switches from SQLite to PostgreSQL or MariaDB.
#![allow(
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "an example prints, and other crates do not depend on it"
)]

mod service;
mod setup;
mod shop;
mod stock;

use std::env;
use std::time::Duration;

use bento::nats::{NatsPublisher, NatsSettings, NatsSource, NatsSourceSettings};
use bento::prelude::*;
use bento::source::{MemorySource, Source};
use sea_orm::{ConnectionTrait, EntityTrait, Schema};

use crate::service::Service;
use crate::setup::Databases;

#[tokio::main]
async fn main() -> Result<(), Report> {
    Registry::global().validate()?;
    match env::var("NATS_URL") {
        Ok(url) => run(|| nats(&url)).await,
        Err(_) => {
            let broker = MemorySource::default();
            run(|| Ok((broker.clone(), broker.clone()))).await
        }
    }
}

/// A publisher to NATS, and a source that reads what both services publish.
fn nats(url: &str) -> Result<(NatsPublisher, NatsSource), Report> {
    let publisher = NatsPublisher::new(NatsSettings {
        urls: vec![url.into()],
        ..NatsSettings::default()
    })?;
    let source = NatsSource::new(NatsSourceSettings {
        urls: vec![url.into()],
        stream: "TWO_SERVICES".to_owned(),
        subjects: vec!["shop.order.>".to_owned(), "stock.order.>".to_owned()],
        create: true,
        ..NatsSourceSettings::default()
    })?;
    Ok((publisher, source))
}

async fn run<P: Publisher, S: Source>(
    broker: impl Fn() -> Result<(P, S), Report>,
) -> Result<(), Report> {
    let mut databases = Databases::new();
    let database = databases.connect().await?;
    let orders =
        Schema::new(database.get_database_backend()).create_table_from_entity(shop::Entity);
    database.execute(&orders).await?;
    for sql in [
        "CREATE TABLE stock (free BIGINT NOT NULL)",
        "INSERT INTO stock VALUES (20)",
    ] {
        database.execute_unprepared(sql).await?;
    }

    // In a program of its own a service has `Handlers::registered()`.
    let of_shop = Handlers::new(()).add(shop::answer::handler());
    let of_stock = Handlers::new(()).add(stock::reserve::handler());
    let shop = Service::start("shop", &mut databases, of_shop, broker()?).await?;
    let stock = Service::start("stock", &mut databases, of_stock, broker()?).await?;

    for (id, packets) in [("A-1", 2), ("A-2", 100), ("A-3", 5)] {
        println!("{packets} packets are ordered, as {id}");
        shop.db
            .transaction_async(async |tx| {
                let mut order = shop::Model::confirm(id, packets);
                tx.save(&mut order).await
            })
            .await?;
        while status(&database, id).await? == "confirmed" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let left = stock::free(&database).await?;
    println!("in the end {left} of 20 packets are left");

    shop.stop().await?;
    stock.stop().await?;
    databases.close().await
}

async fn status(db: &impl ConnectionTrait, id: &str) -> Result<String, Report> {
    let order = shop::Entity::find_by_id(id).one(db).await?;
    Ok(order.map(|order| order.status).unwrap_or_default())
}
