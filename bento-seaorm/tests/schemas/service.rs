//! A service with an outbox in a schema of its own.

use bento_core::{domain_event, raise};
use bento_relay::Relay;
use bento_relay::publish::MemoryPublisher;
use bento_seaorm::migration::migrations_with;
use bento_seaorm::{Error, OutboxConnection, OutboxStore, TablePrefix, Tables, migrate_with};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement};
use sea_orm_migration::{MigrationTrait, MigratorTraitSelf};

use crate::support::TestDatabase;

/// The events of each service.
#[domain_event(schema = "order.placed", version = 1)]
#[derive(Debug)]
pub struct OrderPlaced {
    pub service: String,
}

/// A service with an outbox in a schema.
pub struct Service {
    pub prefix: TablePrefix,
    pub db: OutboxConnection,
    pub store: OutboxStore,
}

impl Service {
    pub async fn start(database: &TestDatabase, schema: &str) -> Self {
        let prefix = TablePrefix::default()
            .in_schema(database.create_schema(schema).await)
            .unwrap();
        migrate_with(&database.db, prefix.clone()).await.unwrap();
        Self::of(database.db.clone(), prefix)
    }

    /// With a name of its own, which its outbox records.
    pub fn of(db: DatabaseConnection, prefix: TablePrefix) -> Self {
        let application = prefix.schema().unwrap().to_owned();
        let store = OutboxStore::new(db.clone()).with_table_prefix(prefix.clone());
        let store = store.with_application(application.clone());
        let db = OutboxConnection::builder(db)
            .table_prefix(prefix.clone())
            .application(application)
            .build();
        Self { prefix, db, store }
    }

    pub async fn place(&self, count: usize) {
        let service = self.prefix.schema().unwrap();
        let placing = async |_: &_| {
            for _ in 0..count {
                raise(OrderPlaced {
                    service: service.to_owned(),
                })
                .unwrap();
            }
            Ok::<_, DbErr>(())
        };
        self.db.transaction_async(placing).await.unwrap();
    }

    /// The events that its relay publishes.
    pub async fn publish(&self) -> Vec<String> {
        let broker = MemoryPublisher::new();
        Relay::builder(self.store.clone(), broker.clone())
            .run_until_empty()
            .await
            .unwrap();
        broker
            .published()
            .iter()
            .map(|delivery| String::from_utf8_lossy(&delivery.envelope.payload).into_owned())
            .collect()
    }

    pub async fn number(&self, select: &str, rest: &str) -> i64 {
        let backend = self.db.get_database_backend();
        let tables = Tables::new(self.prefix.clone()).on(backend);
        let table = tables.outbox().replace("bento_outbox", rest);
        let sql = Statement::from_string(backend, format!("{select} FROM {table}"));
        self.db
            .query_one_raw(sql)
            .await
            .unwrap()
            .unwrap()
            .try_get_by_index(0)
            .unwrap()
    }
}

/// The migrations of two outboxes.
pub struct Spliced(pub TablePrefix, pub TablePrefix);

impl MigratorTraitSelf for Spliced {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        [self.0.clone(), self.1.clone()]
            .into_iter()
            .flat_map(migrations_with)
            .collect()
    }
}

pub async fn refusal_of_a_flush(db: &OutboxConnection) -> Error {
    let raising = async |_: &_| {
        raise(OrderPlaced {
            service: String::new(),
        })
        .unwrap();
        Ok::<_, Error>(())
    };
    db.transaction_async(raising).await.unwrap_err().into()
}
