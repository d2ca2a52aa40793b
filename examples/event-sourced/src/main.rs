//! cargo run -p event-sourced
//!
//! An account whose state is made of its events: a rule, a conflict and its retry, a state of the
//! past, a snapshot, an event of an older version, all events from a place that was kept, and the
//! relay.
//! `DATABASE_URL` switches from SQLite to PostgreSQL or MariaDB.
#![allow(
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "an example prints, and other crates do not depend on it"
)]

mod account;
mod older_release;

use std::{env, fs};

use bento::event_store::{Cursor, EventStore as _, Moment, Selection};
use bento::inspect::InspectEvents as _;
use bento::prelude::*;
use bento::publish::MemoryPublisher;
use bento::{DatabaseEvents, TransactionError};
use futures_util::TryStreamExt as _;
use sea_orm::{ConnectOptions, Database};

use crate::account::{Account, Overdraft};

/// The reason why a withdrawal did not happen.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Overdraft(#[from] Overdraft),
    #[error("there is no account `{0}`")]
    Unknown(String),
    #[error(transparent)]
    Outbox(#[from] bento::Error),
}

/// Loads in the closure: each attempt decides by the state that it finds.
async fn withdraw(
    db: &OutboxConnection,
    id: &str,
    amount: i64,
) -> Result<(), TransactionError<Refused>> {
    db.transaction_retrying(RetryPolicy::default(), async |tx| {
        let found = tx.load::<Account>(id).await?;
        let mut account = found.ok_or_else(|| Refused::Unknown(id.to_owned()))?;
        account.withdraw(amount)?;
        Ok(tx.save(&mut account).await?)
    })
    .await
}

#[tokio::main]
async fn main() -> Result<(), Report> {
    Registry::global().validate()?;
    let file = env::temp_dir().join(format!("bento-event-sourced-{}.sqlite", EventId::new()));
    let sqlite = format!("sqlite://{}?mode=rwc", file.display());
    let url = env::var("DATABASE_URL").unwrap_or(sqlite);
    let options = ConnectOptions::new(url).sqlx_logging(false).to_owned();
    let database = Database::connect(options).await?;
    bento::migrate(&database).await?;
    let db = OutboxConnection::new(database.clone());
    let events = DatabaseEvents::new(db.clone());

    println!("1. an account is opened, with a deposit of 500");
    db.transaction_async(async |tx| {
        let mut account = Account::open("A-1", "Ann", "USD");
        account.deposit(500);
        tx.save(&mut account).await
    })
    .await?;
    withdraw(&db, "A-1", 120).await?;
    let refused = withdraw(&db, "A-1", 1000).await;
    println!("   120 is withdrawn; then 1000: {}", text(refused));

    println!("2. two cash machines ask for 300 at once");
    let (one, other) = tokio::join!(withdraw(&db, "A-1", 300), withdraw(&db, "A-1", 300));
    for answer in [one, other].map(text).iter().filter(|text| *text != "done") {
        println!("   one of them: {answer}");
    }

    println!("3. a save is refused if somebody else was first");
    let mut stale = load(&events, "A-1").await?;
    db.transaction_async(async |tx| {
        let mut account = tx.load::<Account>("A-1").await?.unwrap_or_default();
        account.deposit(40);
        tx.save(&mut account).await
    })
    .await?;
    stale.deposit(1);
    if let Err(conflict) = events.save(&mut stale).await {
        println!("   {conflict}");
    }
    stale.discard();

    println!("4. the account, as it is and as it was");
    let now = load(&events, "A-1").await?;
    println!(
        "   {} of {} after {} events",
        now.balance, now.currency, now.version
    );
    for nth in [2, 3] {
        let then = events
            .load_at::<Account>("A-1", Moment::Sequence(nth))
            .await?;
        println!(
            "   {} after {nth}",
            then.map_or(0, |account| account.balance)
        );
    }

    let counts = events.stored_aggregates().await?;
    let snapshots: u64 = counts.iter().map(|counts| counts.snapshots).sum();
    println!("   snapshots: {snapshots}, kept when the third event was saved");

    println!("5. an event that a release without currencies has stored");
    older_release::open_account(&db, "A-2").await?;
    let old = load(&events, "A-2").await?;
    println!(
        "   account.opened, version 1, is loaded with {}",
        old.currency
    );

    println!("6. all events, three at first");
    let page = events.page(&Selection::All, &Cursor::START, 3).await?;
    for stored in &page.events {
        println!("   {}", line(&stored.envelope));
    }
    let kept: String = page.next.to_string();
    println!("   the rest, from the place that was kept as text");
    let rest = events.stream(Selection::All, kept.parse()?);
    let rest: Vec<_> = rest.try_collect().await?;
    for stored in &rest {
        println!("   {}", line(&stored.envelope));
    }

    println!("7. a relay publishes what was saved");
    let publisher = MemoryPublisher::new();
    Relay::builder(OutboxStore::new(database.clone()), publisher.clone())
        .workers(1)
        .run_until_empty()
        .await?;
    for id in ["A-1", "A-2"] {
        let published = publisher.published();
        let of_account = published.iter().map(|sent| &sent.envelope);
        let numbers: Vec<_> = of_account
            .filter(|event| event.aggregate_id == id)
            .filter_map(|event| event.sequence)
            .collect();
        println!("   {id}: {numbers:?}");
    }
    database.close().await?;
    if file.exists() {
        fs::remove_file(file)?;
    }
    Ok(())
}

async fn load(events: &DatabaseEvents, id: &str) -> Result<Account, Report> {
    let found = events.load::<Account>(id).await?;
    Ok(found.ok_or_else(|| Refused::Unknown(id.to_owned()))?)
}

fn text(answer: Result<(), TransactionError<Refused>>) -> String {
    match answer {
        Ok(()) => "done".to_owned(),
        Err(TransactionError::Transaction(refused)) => refused.to_string(),
        Err(error) => error.to_string(),
    }
}

fn line(event: &Envelope) -> String {
    let number = event.sequence.unwrap_or_default();
    format!("{} {number} {}", event.aggregate_id, event.event_type)
}
