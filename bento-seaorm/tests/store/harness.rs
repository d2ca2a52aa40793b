//! A database of its own for every rule of the conformance suite.

use std::time::Duration;

use bento_core::outbox::{OutboxEntry, Sharding};
use bento_seaorm::{OutboxStore, TablePrefix, Tables, testing};
use bento_testkit::store::StoreHarness;
use sea_orm::{DatabaseTransaction, DbBackend, TransactionTrait};

use crate::support::OwnedDatabase;

/// A migrated database.
pub(crate) struct Harness {
    database: OwnedDatabase,
    tables: Tables,
    is_inbox: bool,
}

impl Harness {
    /// Makes the harness; `None` without a server.
    pub(crate) async fn on(backend: DbBackend) -> Option<Self> {
        let database = OwnedDatabase::create(backend).await?;
        bento_seaorm::migrate(&database.db).await.unwrap();
        Some(Self {
            database,
            tables: Tables::default(),
            is_inbox: false,
        })
    }

    /// The same with the tables of the inbox.
    pub(crate) async fn in_inbox(backend: DbBackend) -> Option<Self> {
        let outbox = Self::on(backend).await?;
        Some(Self {
            tables: Tables::of_inbox(TablePrefix::default()),
            is_inbox: true,
            ..outbox
        })
    }

    /// The same in a schema that no connection looks into by itself, with a name that needs its
    /// quotes.
    pub(crate) async fn in_schema(backend: DbBackend) -> Option<Self> {
        let database = OwnedDatabase::create(backend).await?;
        let prefix = TablePrefix::default()
            .in_schema(database.create_schema("Billing-EU").await)
            .unwrap();
        bento_seaorm::migrate_with(&database.db, prefix.clone())
            .await
            .unwrap();
        Some(Self {
            database,
            tables: Tables::new(prefix),
            is_inbox: false,
        })
    }
}

impl Harness {
    fn open(&self) -> OutboxStore {
        let db = self.database.db.clone();
        if self.is_inbox {
            OutboxStore::inbox(db)
        } else {
            OutboxStore::new(db)
        }
    }
}

impl StoreHarness for Harness {
    type Store = OutboxStore;
    type Staged = DatabaseTransaction;

    async fn store(&self, sharding: Sharding) -> OutboxStore {
        let prefix = self.tables.prefix().clone();
        self.open()
            .with_table_prefix(prefix)
            .with_sharding(sharding)
    }

    async fn append(&self, entries: Vec<OutboxEntry>) {
        let tx = self.database.db.begin().await.unwrap();
        testing::write_to(&tx, self.tables.clone(), entries)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    async fn stage(&self, entries: Vec<OutboxEntry>) -> Option<DatabaseTransaction> {
        if self.database.is(DbBackend::Sqlite) {
            return None;
        }
        let tx = self.database.db.begin().await.unwrap();
        testing::write_to(&tx, self.tables.clone(), entries)
            .await
            .unwrap();
        Some(tx)
    }

    async fn commit(&self, staged: DatabaseTransaction) {
        staged.commit().await.unwrap();
    }

    /// The clock is the database's, so it has to be waited for.
    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time + Duration::from_millis(5)).await;
    }

    async fn unmigrated(&self) -> Option<OutboxStore> {
        let nowhere = self
            .tables
            .prefix()
            .to_string()
            .replace("bento_", "nowhere_");
        Some(self.open().with_table_prefix(nowhere.parse().unwrap()))
    }
}
