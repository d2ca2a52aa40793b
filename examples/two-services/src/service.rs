//! The parts that both services have: a relay that publishes, and a consumer that receives.

use bento::event::EventKind;
use bento::prelude::*;
use bento::route::RouterConfig;
use bento::source::Source;
use bento::{ConsumerHandle, TablePrefix, Wake, migrate_with};

use crate::setup::Databases;

/// A service, with its outbox and its inbox.
#[derive(Debug)]
pub struct Service {
    pub db: OutboxConnection,
    relay: RelayHandle,
    consumer: ConsumerHandle,
}

impl Service {
    /// Starts a service whose tables have its name. It publishes to the broker, and its handlers
    /// get what the source brings of the other service.
    pub async fn start(
        name: &str,
        databases: &mut Databases,
        handlers: Handlers<()>,
        (broker, source): (impl Publisher, impl Source),
    ) -> Result<Self, Report> {
        let prefix = TablePrefix::new(format!("{name}_bento_"))?;
        let (database, relays) = (databases.connect().await?, databases.connect().await?);
        migrate_with(&database, prefix.clone()).await?;
        let wake = Wake::new();
        let db = OutboxConnection::builder(database)
            .table_prefix(prefix.clone())
            .wake(&wake)
            .build();

        // Contracts go to the broker, and domain events stay inside.
        let contracts = Rule::new("contracts").kind(EventKind::Integration);
        let router = RouterConfig::default()
            .destination(Destination::new("broker"))
            .rule(contracts.to(["broker"]))
            .build()?;
        let store = OutboxStore::new(relays.clone()).with_table_prefix(prefix.clone());
        let relay = Relay::builder(store, broker)
            .router(router)
            .wake(&wake)
            .start()?;

        let inbox = Inbox::new(relays).with_table_prefix(prefix);
        let consumer = Consumer::builder(inbox, handlers.build(&db)?)
            .source(format!("{name}-inbox"), source)
            .start()
            .await?;
        Ok(Self {
            db,
            relay,
            consumer,
        })
    }

    /// Stops the consumer, and then the relay, which may still publish what the handlers raised.
    pub async fn stop(self) -> Result<(), Report> {
        self.consumer.stop().await?;
        Ok(self.relay.stop().await?)
    }
}
