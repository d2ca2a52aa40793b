//! A database with an outbox, and orders.

use std::time::Duration;

use bento_core::{PendingEvents, aggregate, domain_event};
use bento_relay::Wake;
use bento_relay::dead_letter::{DeadLetter, DeadLetterQuery, DeadLetters as _};
use bento_relay::retry::RetryPolicy;
use bento_seaorm::{OutboxConnection, OutboxStore};
use sea_orm::{ConnectionTrait as _, DbErr};

use crate::support::TestDatabase;

/// Longer than any step takes; what does not end has failed.
const LIMIT: Duration = Duration::from_secs(60);

#[domain_event(schema = "order.placed", version = 1)]
#[derive(Clone, Debug)]
pub struct OrderPlaced {
    pub number: i64,
    /// The way in which handlers behave.
    pub mood: String,
}

#[aggregate(events(OrderPlaced))]
#[derive(Debug)]
pub struct Customer {
    pub id: i64,
    pub events: PendingEvents,
}

pub struct Scene<'a> {
    pub database: &'a TestDatabase,
    pub outbox: OutboxConnection,
    pub wake: Wake,
}

impl<'a> Scene<'a> {
    pub async fn on(database: &'a TestDatabase) -> Self {
        let create = "CREATE TABLE effect (handler varchar(40) NOT NULL, number BIGINT NOT NULL)";
        database.db.execute_unprepared(create).await.unwrap();
        let wake = Wake::new();
        let outbox = OutboxConnection::builder(database.connect(2).await)
            .wake(&wake)
            .build();
        Self {
            database,
            outbox,
            wake,
        }
    }

    pub async fn store(&self) -> OutboxStore {
        OutboxStore::new(self.database.connect(5).await)
    }

    /// The connection for handlers.
    pub async fn handlers_db(&self) -> OutboxConnection {
        OutboxConnection::builder(self.database.connect(8).await)
            .wake(&self.wake)
            .build()
    }

    /// Commits an order of a customer, again if others keep the database busy.
    pub async fn place(&self, customer: i64, number: i64, mood: &str) {
        let policy = RetryPolicy::immediate(5);
        let place = self.outbox.transaction_retrying(policy, async |_| {
            let events = PendingEvents::default();
            let mood = mood.to_owned();
            Customer {
                id: customer,
                events,
            }
            .raise(OrderPlaced { number, mood });
            Ok::<_, DbErr>(())
        });
        place.await.unwrap();
    }

    pub async fn number(&self, sql: &str) -> i64 {
        self.database.number(sql).await
    }

    /// The number of effects of a handler.
    pub async fn effects(&self, handler: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM effect WHERE handler = '{handler}'");
        self.number(&sql).await
    }

    /// Waits until this number of rows are pending, held and dead.
    pub async fn counted(&self, expected: [i64; 3]) {
        let reached = async {
            while self.counts().await != expected {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(LIMIT, reached).await.is_err() {
            panic!(
                "{:?} rows are pending, held and dead, and not {expected:?}",
                self.counts().await
            );
        }
    }

    async fn counts(&self) -> [i64; 3] {
        let mut counts = [0; 3];
        let tables = ["bento_outbox", "bento_outbox_held", "bento_dead_letter"];
        for (count, table) in counts.iter_mut().zip(tables) {
            *count = self.number(&format!("SELECT count(*) FROM {table}")).await;
        }
        counts
    }

    pub async fn dead(&self) -> Vec<DeadLetter> {
        let all = DeadLetterQuery::default().limit(1000);
        self.store().await.list(&all).await.unwrap()
    }
}
