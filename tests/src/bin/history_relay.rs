//! A relay in a process of its own, to be killed and paused: publishes into the table `broker_log`.
//!
//! `history_relay NAME URL`; it drains and ends when its standard input is closed.

use std::error::Error;
use std::time::Duration;

use bento_core::publish::{Delivery, PublishError, Publisher};
use bento_core::relay::Relay;
use bento_seaorm::OutboxStore;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement, Value};
use tokio::io::AsyncReadExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (name, url) = (arguments.next().ok_or("no name")?, arguments.next().ok_or("no url")?);
    let mut options = ConnectOptions::new(url);
    options.max_connections(4).sqlx_logging(false);
    let database = Database::connect(options).await?;
    let publisher = BrokerLog { name, database: database.clone() };
    let relay = Relay::builder(OutboxStore::new(database), publisher)
        .batch(20)
        .lease(Duration::from_secs(2))
        .poll(Duration::from_millis(5), Duration::from_millis(20))
        .start()?;
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    relay.stop().await?;
    Ok(())
}

/// A broker that remembers who said what, in order.
#[derive(Debug)]
struct BrokerLog {
    name: String,
    database: DatabaseConnection,
}

impl BrokerLog {
    async fn append(&self, batch: &[Delivery]) -> Result<(), Box<dyn Error + Send + Sync>> {
        let backend = self.database.get_database_backend();
        let mut values = Vec::<Value>::with_capacity(batch.len() * 3);
        for delivery in batch {
            let payload: serde_json::Value = serde_json::from_slice(&delivery.envelope.payload)?;
            values.push(self.name.clone().into());
            values.push(payload["token"].as_str().unwrap_or_default().to_owned().into());
            values.push(delivery.envelope.event_type.clone().into_owned().into());
        }
        let rows = (0..batch.len()).map(|row| placeholders(backend, row * 3, 3)).collect::<Vec<_>>().join(",");
        let sql = format!("INSERT INTO broker_log (relay, token, event_type) VALUES {rows}");
        self.database.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
        Ok(())
    }
}

impl Publisher for BrokerLog {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        let result = self.append(batch).await.map_err(|error| error.to_string());
        batch.iter().map(|_| result.clone().map_err(PublishError::transient)).collect()
    }
}

fn placeholders(backend: sea_orm::DbBackend, from: usize, count: usize) -> String {
    let one = |index: usize| match backend {
        sea_orm::DbBackend::Postgres => format!("${}", from + index + 1),
        _ => "?".to_owned(),
    };
    format!("({})", (0..count).map(one).collect::<Vec<_>>().join(","))
}
