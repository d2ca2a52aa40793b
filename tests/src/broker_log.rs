//! A broker that remembers who said what, in order: a table of the database.

use std::error::Error;

use bento_relay::publish::{Delivery, PublishError, Publisher};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, Statement,
    Value,
};

/// Publishes into the table `broker_log`, as one relay.
#[derive(Debug)]
pub struct BrokerLog {
    /// The name of the relay.
    pub name: String,
    /// The database of the table.
    pub database: DatabaseConnection,
}

/// A pool for a relay's process.
///
/// # Errors
/// If the database does not answer.
pub async fn connect(url: String) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(4).sqlx_logging(false);
    Database::connect(options).await
}

impl BrokerLog {
    async fn append(&self, batch: &[Delivery]) -> Result<(), Box<dyn Error + Send + Sync>> {
        let backend = self.database.get_database_backend();
        let mut values = Vec::<Value>::with_capacity(batch.len() * 3);
        for delivery in batch {
            let payload: serde_json::Value = serde_json::from_slice(&delivery.envelope.payload)?;
            values.push(self.name.clone().into());
            values.push(
                payload["token"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
                    .into(),
            );
            values.push(delivery.envelope.event_type.clone().into_owned().into());
        }
        let rows = (0..batch.len())
            .map(|row| placeholders(backend, row * 3, 3))
            .collect::<Vec<_>>()
            .join(",");
        let sql = format!("INSERT INTO broker_log (relay, token, event_type) VALUES {rows}");
        self.database
            .execute_raw(Statement::from_sql_and_values(backend, sql, values))
            .await?;
        Ok(())
    }
}

impl Publisher for BrokerLog {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        let result = self.append(batch).await.map_err(|error| error.to_string());
        batch
            .iter()
            .map(|_| result.clone().map_err(PublishError::unavailable))
            .collect()
    }
}

fn placeholders(backend: DbBackend, from: usize, count: usize) -> String {
    let one = |index: usize| match backend {
        DbBackend::Postgres => format!("${}", from + index + 1),
        _ => "?".to_owned(),
    };
    format!("({})", (0..count).map(one).collect::<Vec<_>>().join(","))
}
