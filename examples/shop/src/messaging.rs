//! The parts that both services have: an outbox with its relay, an inbox with its consumer.

use std::time::Duration;

use bento::consumer::ConsumerBuilder;
use bento::handlers::Dispatcher;
use bento::inspect::{Monitor, MonitorHandle, MonitorSettings};
use bento::prelude::*;
use bento::source::MemorySource;
use bento::{ConsumerHandle, SourceSettings, Wake};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr};
use sea_orm_migration::MigratorTraitSelf;

use crate::Result;

/// The publisher that means [`Broker::memory`].
pub const MEMORY: &str = "memory";

/// The ways of events out of a service and into it.
#[derive(Clone, Debug)]
pub struct Broker {
    /// The publishers that the settings name.
    pub publishers: Publishers,
    /// The broker of services in one process.
    pub memory: MemorySource,
}

/// A service that publishes what it raises, and handles what others publish.
#[derive(Debug)]
pub struct Messaging {
    pub db: OutboxConnection,
    pub relay: RelayHandle,
    pub consumer: ConsumerHandle,
    monitor: MonitorHandle,
}

impl Broker {
    /// The broker that `settings` choose.
    pub fn new(settings: &Settings, memory: &MemorySource) -> Result<Self> {
        let publishers = settings.build_publishers()?;
        Ok(Self {
            publishers: publishers.with(MEMORY, memory.clone()),
            memory: memory.clone(),
        })
    }

    /// A consumer that reads this broker alone, of all whose sources are configured.
    fn consumer(
        self,
        settings: &Settings,
        inbox: Inbox,
        handlers: Dispatcher,
    ) -> Result<ConsumerBuilder> {
        let mut settings = settings.clone();
        settings
            .sources
            .retain(|name, _| *name == settings.publisher);
        let consumer = settings.consumer(inbox, handlers)?;
        if settings.publisher != MEMORY {
            return Ok(consumer);
        }
        let trusted = SourceSettings {
            trusted: true,
            ..SourceSettings::default()
        };
        Ok(consumer.source_with(MEMORY, self.memory, trusted))
    }
}

impl Messaging {
    /// Opens the database and brings its tables up to date, and starts relay and consumer. Neither
    /// waits for the broker.
    pub async fn start(
        name: &str,
        database_url: &str,
        settings: &Settings,
        migrator: impl MigratorTraitSelf + 'static,
        handlers: Handlers,
        broker: Broker,
    ) -> Result<Self> {
        Registry::global().validate()?;
        let database = connect(database_url).await?;
        bento::migration::up_alone(&database, migrator).await?;
        bento::validate_stored(&database).await?.into_result()?;

        // The outbox records the name: a service that is started on the database of another one is
        // refused.
        let wake = Wake::new();
        let outbox = |database| {
            let outbox = OutboxConnection::builder(database).application(name);
            outbox.wake(&wake).build()
        };
        let db = outbox(database);
        // Each with connections of its own: requests, handlers and relays do not wait for each
        // other's.
        let handlers_db = outbox(connect(database_url).await?);
        let relays = connect(database_url).await?;
        let handlers = handlers.settings(&settings.handlers).build(&handlers_db)?;

        let store = OutboxStore::new(relays.clone()).with_application(name);
        // The events of the service itself go to its projections and handlers, too.
        let publishers = broker.publishers.clone().with_handlers(handlers.clone());
        let relay = Relay::builder(store.clone(), publishers)
            .router(settings.router()?)
            .settings(settings.relay.clone())
            .wake(&wake)
            .start()?;
        let consumer = broker.consumer(settings, Inbox::new(relays), handlers)?;
        let consumer = consumer.start_in_background().await?;
        // Backlog, age and leases as gauges. Of several processes on one database, one or two
        // should do this.
        let monitor = Monitor::start(store, MonitorSettings::default());
        Ok(Self {
            db,
            relay,
            consumer,
            monitor,
        })
    }

    /// Waits until relay or consumer has ended by itself, which is an error that waiting cannot
    /// repair.
    pub async fn join(&mut self) -> Result {
        tokio::select! {
            ended = self.relay.join() => ended?,
            ended = self.consumer.join() => ended?,
        }
        Ok(())
    }

    /// Stops the consumer and then the relay, which give their leases back, and closes the
    /// database. What is not published yet stays in the outbox.
    pub async fn stop(self) -> Result {
        self.monitor.stop().await;
        self.consumer.stop().await?;
        self.relay.stop().await?;
        self.db.close().await?;
        Ok(())
    }
}

async fn connect(url: &str) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(url);
    options
        .sqlx_logging(false)
        .acquire_timeout(Duration::from_secs(5));
    let database = Database::connect(options).await?;
    if database.get_database_backend() == DbBackend::Sqlite {
        // Requests that read do not wait for the relay, which writes.
        database
            .execute_unprepared("PRAGMA journal_mode = WAL")
            .await?;
    }
    Ok(database)
}
