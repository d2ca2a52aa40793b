//! cargo run -p dead-letters
//!
//! Events that no broker accepts, and an operator's commands for them: look, try, replay, discard.
//! On an embedded SQLite file; `DATABASE_URL` switches it to PostgreSQL or MariaDB.
#![allow(
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "an example prints, and nothing depends on it"
)]

mod order;
mod setup;

use bento::Relay;
use bento::dead_letter::{
    AlertError, AlertHook, AlertSettings, Alerts, DeadLetter, DeadLetterFilter, DeadLetterQuery,
    Operator, ReplayMode,
};
use bento::publish::{Delivery, MemoryPublisher, PublishError};
use bento::retry::RetryPolicy;
use bento::{OutboxConnection, OutboxStore};
use sea_orm::DatabaseConnection;
use tokio::sync::watch;

type Result<T, E = bento::Report> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    let database = setup::connect().await?;
    let db = OutboxConnection::new(database.clone());
    let store = OutboxStore::new(database.clone());
    let broker = MemoryPublisher::new();
    let alice = Operator::new(&store, "alice");

    println!(
        "1. the broker has no topic for orders in CHF, nor for an event that an old release has \
         left"
    );
    broker.fail(refuse);
    setup::leave_an_event_that_nobody_declares(&database, "A-0").await?;
    relay(&database, &broker).await?;
    order::place_and_pay(&db, "A-1", "CHF").await?;
    order::place_and_pay(&db, "A-2", "EUR").await?;
    relay(&database, &broker).await?;
    println!("   {}", setup::outbox(&store).await?);

    println!("2. the alert hook is told of each, at least once");
    told_of(&database, 2).await?;

    println!("3. alice looks");
    for letter in alice.list(&DeadLetterQuery::default()).await? {
        println!("   {}", described(&letter));
    }

    println!("4. she tries what a replay would do");
    let report = alice
        .replay_all(&DeadLetterFilter::default(), ReplayMode::DryRun)
        .await?;
    println!("   {} would be replayed", report.matched);
    for found in &report.problems {
        println!("   {:?}: {}", found.problem, found.detail);
    }

    println!("5. the broker gets its topic; she replays, and order A-1 goes on where it stood");
    broker.recover();
    let orders = DeadLetterFilter::default().event_type("order.placed");
    let report = alice.replay_all(&orders, ReplayMode::Replay).await?;
    println!("   {} of {} replayed", report.replayed, report.matched);
    relay(&database, &broker).await?;

    println!("6. she discards the rest, for a reason that is kept");
    alice
        .discard_all(&DeadLetterFilter::default(), "the archive was given up")
        .await?;
    for kept in alice.discarded(&DeadLetterQuery::default()).await? {
        let actor = kept.actor.unwrap_or_default();
        println!(
            "   {} {}: discarded by {actor}, {}",
            kept.aggregate_id, kept.event_type, kept.reason
        );
    }

    println!("7. in the end");
    println!("   {}", setup::outbox(&store).await?);
    setup::close(database).await
}

/// The error of the broker for an order that it refuses.
fn refuse(delivery: &Delivery) -> Option<PublishError> {
    let event = &delivery.envelope;
    let in_chf = event.payload.windows(3).any(|text| text == b"CHF");
    match &*event.event_type {
        "order.archived" => Some(PublishError::permanent("refused").because("no such topic")),
        "order.placed" if in_chf => {
            Some(PublishError::transient("refused").because("the topic is being made"))
        }
        _ => None,
    }
}

/// Lets a relay do what there is to do.
async fn relay(database: &DatabaseConnection, broker: &MemoryPublisher) -> Result<()> {
    let before = broker.published().len();
    let relay = Relay::builder(OutboxStore::new(database.clone()), broker.clone()).workers(1);
    relay
        .retry(RetryPolicy::immediate(3))
        .run_until_empty()
        .await?;
    for delivery in &broker.published()[before..] {
        println!(
            "   published {} {}",
            delivery.envelope.aggregate_id, delivery.envelope.event_type
        );
    }
    Ok(())
}

fn described(letter: &DeadLetter) -> String {
    let DeadLetter {
        envelope,
        attempts,
        cause,
        error,
        ..
    } = letter;
    format!(
        "{} {}: {cause} at attempt {attempts}, {error}",
        envelope.aggregate_id, envelope.event_type
    )
}

/// Runs the alerts until the hook was told of this number of dead letters.
async fn told_of(database: &DatabaseConnection, letters: usize) -> Result<()> {
    let pager = Pager::default();
    let mut told = pager.told.subscribe();
    let alerts = Alerts::start(
        OutboxStore::new(database.clone()),
        pager,
        AlertSettings::default(),
    );
    told.wait_for(|told| *told >= letters).await?;
    alerts.stop().await;
    Ok(())
}

/// Tells whoever is on call.
#[derive(Debug, Default)]
struct Pager {
    told: watch::Sender<usize>,
}

impl AlertHook for Pager {
    async fn alert(&self, letters: &[DeadLetter]) -> Result<(), AlertError> {
        for letter in letters {
            println!(
                "   alert: {} {} was given up",
                letter.envelope.aggregate_id, letter.envelope.event_type
            );
        }
        self.told.send_modify(|told| *told += letters.len());
        Ok(())
    }
}
