//! The events of a database behave as the seam says, on each back end.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;
#[path = "event_store/versions.rs"]
mod versions;

use bento_core::{Aggregate as _, Envelope, integration_event};
use bento_seaorm::{
    DatabaseEvents, OutboxConnection, OutboxTransaction, TablePrefix, Tables, testing,
};
use bento_testkit::event_store::{EventStoreBench, Opened, Purse};
use sea_orm::{DbBackend, TransactionTrait as _};

use crate::support::OwnedDatabase;

bento_testkit::event_store_conformance!(sqlite, Bench::on(DbBackend::Sqlite));
bento_testkit::event_store_conformance!(postgres, Bench::on(DbBackend::Postgres));
bento_testkit::event_store_conformance!(mysql, Bench::on(DbBackend::MySql));

/// Every statement names the schema.
mod in_schema {
    use super::*;

    bento_testkit::event_store_conformance!(postgres, Bench::in_schema(DbBackend::Postgres));
    bento_testkit::event_store_conformance!(mysql, Bench::in_schema(DbBackend::MySql));
}

/// Not stored.
#[integration_event(from = Opened, schema = "shop.purse.opened", version = 1)]
#[derive(Clone, Debug)]
struct Announced {
    owner: String,
}

impl From<&Opened> for Announced {
    fn from(opened: &Opened) -> Self {
        Self {
            owner: opened.owner.clone(),
        }
    }
}

/// A migrated database of its own.
struct Bench {
    database: OwnedDatabase,
    prefix: TablePrefix,
}

impl Bench {
    /// `None` without a server.
    async fn on(backend: DbBackend) -> Option<Self> {
        let database = OwnedDatabase::create(backend).await?;
        Some(Self::migrated(database, TablePrefix::default()).await)
    }

    /// The same in a schema that no connection looks into by itself.
    async fn in_schema(backend: DbBackend) -> Option<Self> {
        let database = OwnedDatabase::create(backend).await?;
        let schema = database.create_schema("Billing-EU").await;
        let prefix = TablePrefix::default().in_schema(schema).unwrap();
        Some(Self::migrated(database, prefix).await)
    }

    async fn migrated(database: OwnedDatabase, prefix: TablePrefix) -> Self {
        bento_seaorm::migrate_with(&database.db, prefix.clone())
            .await
            .unwrap();
        Self { database, prefix }
    }

    fn connection(&self) -> OutboxConnection {
        OutboxConnection::builder(self.database.db.clone())
            .table_prefix(self.prefix.clone())
            .build()
    }
}

impl EventStoreBench for Bench {
    type Store = DatabaseEvents;
    type Staged = OutboxTransaction;

    fn store(&self) -> DatabaseEvents {
        DatabaseEvents::new(self.connection())
    }

    async fn restore(&self, events: Vec<Envelope>) -> bool {
        let tx = self.database.db.begin().await.unwrap();
        let tables = Tables::new(self.prefix.clone());
        testing::append(&tx, tables, Purse::TYPE, events)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        true
    }

    async fn stage(&self, purse: &mut Purse) -> Option<OutboxTransaction> {
        if self.database.is(DbBackend::Sqlite) {
            return None;
        }
        let tx = self.connection().begin().await.unwrap();
        tx.save(purse).await.unwrap();
        Some(tx)
    }

    async fn commit(&self, staged: OutboxTransaction) {
        staged.commit().await.unwrap();
    }
}
