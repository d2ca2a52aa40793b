//! cargo run -p routing
//!
//! Rules from `rules.toml` and from code decide where events go: by schema, by condition with a
//! transformed payload, delayed, a sampled copy, and what the fallback is for. The broker is in
//! memory. `DATABASE_URL` switches from SQLite to PostgreSQL or MariaDB.
#![allow(
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "an example prints, and nothing depends on it"
)]

use bento::publish::{Delivery, MemoryPublisher, PublishError};
use bento::route::{Router, RouterConfig};
use bento::{
    OutboxConnection, OutboxStore, PendingEvents, Registry, Relay, aggregate, domain_event,
};
use sea_orm::{Database, DbErr};
use uuid::Uuid;

type Result<T = (), E = bento::Report> = std::result::Result<T, E>;

#[domain_event(schema = "order.placed", version = 1, routing_key = "new")]
#[derive(Debug)]
pub struct OrderPlaced {
    pub order: u32,
    pub total: String,
    pub country: String,
}

#[domain_event(schema = "order.paid", version = 1)]
#[derive(Debug)]
pub struct OrderPaid {
    pub order: u32,
}

#[domain_event(schema = "invoice.sent", version = 1)]
#[derive(Debug)]
pub struct InvoiceSent {
    pub order: u32,
}

#[aggregate(events(OrderPlaced, OrderPaid, InvoiceSent))]
#[derive(Debug)]
pub struct Order {
    id: u32,
    events: PendingEvents,
}

impl Order {
    /// Everything that happens to an order. The ids are chosen, so that every run samples the same
    /// events.
    fn lives(id: u32, total: &str, country: &str) {
        let mut order = Self {
            id,
            events: PendingEvents::default(),
        };
        let event_id = |number: u32| Uuid::from_u128(u128::from(id * 10 + number));
        let placed = OrderPlaced {
            order: id,
            total: total.to_owned(),
            country: country.to_owned(),
        };
        order.raise_with(placed, |metadata| metadata.with_event_id(event_id(1)));
        order.raise_with(OrderPaid { order: id }, |metadata| {
            metadata.with_event_id(event_id(2))
        });
        order.raise_with(InvoiceSent { order: id }, |metadata| {
            metadata.with_event_id(event_id(3))
        });
    }
}

#[tokio::main]
async fn main() -> Result {
    Registry::global().validate()?;
    println!("1. rules are checked as a whole, and every fault has its path");
    refuse_a_rule()?;

    let url = std::env::var("DATABASE_URL").unwrap_or_else(|_| "sqlite::memory:".to_owned());
    let mut options = sea_orm::ConnectOptions::new(url);
    options
        .max_connections(if std::env::var("DATABASE_URL").is_ok() {
            4
        } else {
            1
        })
        .sqlx_logging(false);
    let database = Database::connect(options).await?;
    bento::migrate(&database).await?;
    let db = OutboxConnection::new(database.clone());
    db.transaction_async(async |_| {
        Order::lives(1, "20.00", "DE");
        Order::lives(2, "1000", "FR");
        Order::lives(3, "2500.00", "FR");
        Ok::<_, DbErr>(())
    })
    .await?;

    println!("2. where nine events of three orders go");
    let broker = MemoryPublisher::new();
    broker.fail(|delivery| {
        let is_refused =
            &*delivery.destination.name == "fraud" && delivery.envelope.aggregate_id == "3";
        is_refused.then(|| PublishError::permanent("the fraud department is closed"))
    });
    let relay = Relay::builder(OutboxStore::new(database.clone()), broker.clone())
        .router(router()?)
        .start()?;
    broker.wait_for(EXPECTED).await;
    relay.stop().await?;
    print(&broker.published());
    database.close().await?;
    Ok(())
}

/// Three of each order by their schema or to the fallback, a reminder of each, two for the fraud
/// department (one of them goes to the fallback in the end), and four copies.
const EXPECTED: usize = 9 + 3 + 2 + 4;

/// The rules of the file, and one from code.
fn router() -> Result<Router> {
    let rules = toml::Deserializer::parse(include_str!("../rules.toml"))?;
    Ok(RouterConfig::read(rules)?
        .sampled_copy("audit", 0.5)
        .build()?)
}

fn refuse_a_rule() -> Result {
    let rules = include_str!("../rules.toml")
        .replace("gte", "gtee")
        .replace("to = \"orders\"", "to = [5]");
    let errors = RouterConfig::read(toml::Deserializer::parse(&rules)?)
        .expect_err("there is no such operator");
    errors.iter().for_each(|error| println!("   {error}"));
    Ok(())
}

fn print(published: &[Delivery]) {
    let mut lines: Vec<String> = published.iter().map(line).collect();
    lines.sort();
    lines.iter().for_each(|line| println!("   {line}"));
}

fn line(delivery: &Delivery) -> String {
    let payload = String::from_utf8_lossy(&delivery.envelope.payload);
    let (to, topic, key) = (
        &delivery.destination.name,
        delivery.topic(),
        delivery.routing_key(),
    );
    format!("{to}: topic {topic}, routing key {key}, {payload}")
}
