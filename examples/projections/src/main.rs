//! cargo run -p projections
//!
//! The balances of accounts as a read model: a first version, a second one that is built beside it
//! while writes go on, an event at which it stops, and a statement without a table. `DATABASE_URL`
//! switches from SQLite to PostgreSQL or MariaDB.
#![allow(
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "an example prints, and other crates do not depend on it"
)]

mod account;
mod balances;

use std::time::Duration;
use std::{env, fs};

use bento::event_store::EventStore as _;
use bento::prelude::*;
use bento::{
    DatabaseEvents, ProjectionKey, ProjectionSettings, ProjectionState, ProjectionStatus,
    Projections, Wake,
};
use indicatif::{ProgressBar, ProgressStyle};
use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, EntityTrait, QueryOrder as _, Schema,
};
use tokio::time::sleep;

use crate::account::{Account, Statement};
use crate::balances::{balance, balance_v1, balance_v2};

/// The database of a bank, and what its programs share.
struct Bank {
    options: ConnectOptions,
    wake: Wake,
    db: OutboxConnection,
    events: DatabaseEvents,
    projections: Projections,
}

#[tokio::main]
async fn main() -> Result<(), Report> {
    Registry::global().validate()?;
    let file = env::temp_dir().join(format!("bento-projections-{}.sqlite", EventId::new()));
    let sqlite = format!("sqlite://{}?mode=rwc", file.display());
    let bank = Bank::open(env::var("DATABASE_URL").unwrap_or(sqlite)).await?;
    let (first, second) = (
        ProjectionKey::new("balances", 1),
        ProjectionKey::new("balances", 2),
    );

    println!("1. a release with version 1: its table is made, and it follows the events");
    bank.create_table(balance_v1::Entity).await?;
    let release = bank.release(&[1]).await?;
    bank.save(Account::open("A-1", "Ann")).await?;
    bank.change("A-1", |account| account.deposit(500)).await?;
    bank.change("A-1", |account| account.withdraw(120)).await?;
    bank.save(Account::open("A-2", "Bob")).await?;
    bank.until(&first, |state| state.status == ProjectionStatus::Live)
        .await?;
    bank.until_told("A-1", 380).await;
    for balance in bank.balances().await? {
        println!(
            "   {} of {}: {}",
            balance.account, balance.owner, balance.cents
        );
    }

    println!("2. years later: 50 accounts more, with 1,250 events");
    for number in 1..=50 {
        let mut account = Account::open(&format!("B-{number:02}"), "Eve");
        (1..=24).for_each(|cents| account.deposit(cents));
        bank.save(account).await?;
    }
    bank.until_told("B-50", 300).await;

    println!("3. a release with version 2 beside it: it is built while 40 deposits are made");
    bank.create_table(balance_v2::Entity).await?;
    let next = bank.release(&[1, 2]).await?;
    release.stop().await?;
    let deposits = async {
        for _ in 0..40 {
            bank.change("A-2", |account| account.deposit(1)).await?;
        }
        Ok(())
    };
    tokio::try_join!(deposits, bank.show_build(&second))?;
    bank.until_told("A-2", 40).await;
    for state in bank.projections.list().await? {
        println!("   {} is {}", state.key, state.status);
    }
    println!(
        "   differences from the accounts: {}",
        bank.differences().await?
    );

    println!("4. a release without version 1, which is ended");
    let last = bank.release(&[2]).await?;
    next.stop().await?;
    bank.until(&first, |state| state.status == ProjectionStatus::Retired)
        .await?;
    let largest = balance_v2::Entity::find_by_id("A-1").one(&bank.db).await?;
    let largest = largest.map_or(0, |row| row.largest);
    println!(
        "   version {:?} is live",
        bank.db.live_version("balances").await?
    );
    println!("   the largest deposit of A-1: {largest}");

    println!("5. an event that nobody thought of: the version stops, and later events wait");
    let mut unknown = Account::new("X-1");
    unknown.deposit(7);
    bank.save(unknown).await?;
    let stopped = bank.until(&second, |state| state.stop.is_some()).await?;
    bank.change("A-1", |account| account.deposit(20)).await?;
    if let Some((stop, event)) = stopped.stop.and_then(|stop| {
        let event = stop.event_id?;
        Some((stop, event))
    }) {
        println!("   {second} has stopped: {}", stop.reason);
        println!("   A-1: {}", bank.told("A-1").await?.unwrap_or_default());
        bank.projections
            .skip(&second, event, "a test account", Some("alice"))
            .await?;
    }
    bank.until_told("A-1", 400).await;
    println!("   alice skips it; A-1: 400");

    println!("6. a statement, made of the events when it is asked for");
    let statement = bank.events.project::<Statement>("A-1").await?;
    for line in statement.unwrap_or_default().lines {
        println!("   {line}");
    }
    last.stop().await?;
    bank.db.inner().clone().close().await?;
    if file.exists() {
        fs::remove_file(file)?;
    }
    Ok(())
}

impl Bank {
    async fn open(url: String) -> Result<Self, Report> {
        let options = ConnectOptions::new(url).sqlx_logging(false).to_owned();
        let database = Database::connect(options.clone()).await?;
        bento::migrate(&database).await?;
        let wake = Wake::new();
        let db = OutboxConnection::builder(database.clone())
            .wake(&wake)
            .build();
        Ok(Self {
            options,
            wake,
            events: DatabaseEvents::new(db.clone()),
            db,
            projections: Projections::new(OutboxStore::new(database)),
        })
    }

    /// The part of a service's migration.
    async fn create_table(&self, table: impl EntityTrait) -> Result<(), Report> {
        let schema = Schema::new(self.db.get_database_backend());
        let create = schema.create_table_from_entity(table);
        self.db.execute(&create).await?;
        Ok(())
    }

    /// A release of the program, with these versions of the projection. Here they are all in one
    /// program; a release of yours has the structs that it has.
    async fn release(&self, versions: &[u32]) -> Result<RelayHandle, Report> {
        let gently = ProjectionSettings::default().page(100).throttle(2_000);
        let pool = Database::connect(self.options.clone()).await?;
        let dispatcher = Handlers::registered()
            .retain_projections(|projection| versions.contains(&projection.version))
            .configure_projection("balances", gently)
            .build(&OutboxConnection::new(pool))?;
        let store = OutboxStore::new(Database::connect(self.options.clone()).await?);
        let relay = Relay::builder(store, dispatcher).wake(&self.wake);
        Ok(relay.start()?)
    }

    async fn save(&self, mut account: Account) -> Result<(), Report> {
        Ok(self.events.save(&mut account).await?)
    }

    async fn change(&self, id: &str, change: impl Fn(&mut Account)) -> Result<(), Report> {
        let loaded = self.events.load::<Account>(id).await?;
        let mut account = loaded.unwrap_or_else(|| Account::new(id));
        change(&mut account);
        self.save(account).await
    }

    /// Waits until a version is as it should be.
    async fn until(
        &self,
        key: &ProjectionKey,
        is_so: impl Fn(&ProjectionState) -> bool,
    ) -> Result<ProjectionState, Report> {
        loop {
            let states = self.projections.list().await?;
            let found = states.into_iter().find(|state| state.key == *key);
            if let Some(state) = found.filter(&is_so) {
                return Ok(state);
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Shows the progress of a build on standard error, if that is a terminal.
    async fn show_build(&self, key: &ProjectionKey) -> Result<(), Report> {
        let style = "   {bar:40} {pos} of {len} events {msg}";
        let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(style)?);
        let shown = self.until(key, |state| {
            let build = &state.build;
            bar.set_length(build.total);
            bar.set_position(build.read);
            if let Some(left) = build.left() {
                bar.set_message(format!("{:.1} s left", left.as_secs_f64()));
            }
            state.status == ProjectionStatus::Live
        });
        shown.await?;
        bar.finish_and_clear();
        Ok(())
    }

    /// The read model, whichever version is live.
    async fn balances(&self) -> Result<Vec<balance::Model>, Report> {
        let all = balance::Entity::find().order_by_asc(balance::Column::Account);
        Ok(all.all(&self.db).await?)
    }

    /// The balance that the read model tells.
    async fn told(&self, account: &str) -> Result<Option<i64>, Report> {
        let row = balance::Entity::find_by_id(account).one(&self.db).await?;
        Ok(row.map(|row| row.cents))
    }

    /// Waits until the read model tells this balance: it is behind the accounts by a moment. On
    /// MariaDB and MySQL so is the view behind the version that is live, and an error is no answer.
    async fn until_told(&self, account: &str, cents: i64) {
        while self.told(account).await.ok().flatten() != Some(cents) {
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The number of balances that are not what the events of the account say.
    async fn differences(&self) -> Result<usize, Report> {
        let mut count = 0;
        for balance in self.balances().await? {
            let account = self.events.load::<Account>(&*balance.account).await?;
            count += usize::from(account.is_none_or(|account| account.cents != balance.cents));
        }
        Ok(count)
    }
}
