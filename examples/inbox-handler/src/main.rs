//! cargo run -p inbox-handler
//!
//! A stock service handles the events of a shop, which come through a broker: one in memory, or
//! NATS if `NATS_URL` names it. `DATABASE_URL` switches from SQLite to PostgreSQL or MariaDB.
#![allow(
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "an example prints, and other crates do not depend on it"
)]

mod setup;
mod shop;

use std::env;

use bento::consumer::ConsumerBuilder;
use bento::dead_letter::{DeadLetterQuery, Operator};
use bento::nats::{NatsSource, NatsSourceSettings};
use bento::prelude::*;
use bento::source::MemorySource;
use sea_orm::ConnectionTrait;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};

use crate::shop::Shop;

/// The view that this service has of an event of the shop.
#[domain_event(schema = "order.confirmed", version = 1, consumes)]
#[derive(Debug)]
pub struct OrderConfirmed {
    pub order_id: String,
    pub packets: i64,
}

/// Reserves what was ordered, in the transaction that records the event as handled.
#[event_handler(name = "stock.reserve")]
async fn reserve(event: OrderConfirmed, tx: &OutboxTransaction) -> Result<(), HandleError> {
    let OrderConfirmed { order_id, packets } = event;
    let take = Query::update()
        .table("stock")
        .value("free", Expr::col("free").sub(packets))
        .and_where(Expr::col("free").gte(packets))
        .take();
    if tx.execute(&take).await?.rows_affected() == 0 {
        return Err(HandleError::permanent("there is too little tea"));
    }
    println!("   stock.reserve: {packets} packets for {order_id}");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Report> {
    Registry::global().validate()?;
    let (inbox_pool, handlers_pool) = setup::connect().await?;
    let handlers = Handlers::registered().build(&OutboxConnection::new(handlers_pool.clone()))?;
    let inbox = Inbox::new(inbox_pool.clone());
    let consumer = Consumer::builder(inbox.clone(), handlers);
    match env::var("NATS_URL") {
        Ok(url) => serve(consumer, &url).await?,
        Err(_) => demonstrate(consumer, inbox).await?,
    }
    setup::close(inbox_pool, handlers_pool).await
}

/// Handles what comes from NATS, until Ctrl-C. To send an order:
///
/// ```sh
/// nats pub shop.order.confirmed '{"order_id":"A-1","packets":2}' -H ce-specversion:1.0 \
///   -H ce-id:1 -H ce-source:/shop -H ce-type:order.confirmed -H ce-schemaversion:1
/// ```
async fn serve(consumer: ConsumerBuilder, url: &str) -> Result<(), Report> {
    let source = NatsSource::new(NatsSourceSettings {
        urls: vec![url.into()],
        stream: "SHOP".to_owned(),
        subjects: vec!["shop.order.>".to_owned()],
        create: true,
        ..NatsSourceSettings::default()
    })?;
    let mut consumer = consumer.source("orders", source).start().await?;
    println!("shop.order.> is handled until Ctrl-C");
    tokio::select! {
        ended = consumer.join() => ended?,
        stopped = tokio::signal::ctrl_c() => stopped?,
    }
    Ok(consumer.stop().await?)
}

/// Shows what becomes of six messages.
async fn demonstrate(consumer: ConsumerBuilder, inbox: Inbox) -> Result<(), Report> {
    let broker = MemorySource::default();
    let consumer = consumer.source("orders", broker.clone()).start().await?;
    let shop = Shop::new(broker, inbox.clone());

    println!("1. an order is confirmed, and the broker delivers the message twice");
    let first = shop::confirmed("A-1", 2);
    shop.sends(first.clone()).await?;
    shop.sends(first).await?;

    println!("2. an event that no handler takes is acknowledged, and is not stored");
    shop.sends(shop::mail()).await?;

    println!("3. what cannot be handled is a dead letter of the inbox, and the others go on");
    shop.sends(shop::confirmed("A-2", 100)).await?;
    shop.sends(shop::garbage()).await?;
    shop.sends(shop::confirmed("A-3", 3)).await?;

    println!("4. in the end");
    let store = inbox.store();
    let (sent, acknowledged) = shop.counts();
    let free = setup::free(store.connection()).await?;
    println!("   {sent} messages, {acknowledged} acknowledged, {free} packets left");
    let alice = Operator::new(&store, "alice");
    for letter in alice.list(&DeadLetterQuery::default()).await? {
        println!("   dead letter of {}: {}", letter.route, letter.error);
    }
    Ok(consumer.stop().await?)
}
