//! A database of one run's own, dropped when the run ends.

use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::Result;

/// The URL of PostgreSQL, unless the environment names another.
const POSTGRES_URL: &str = "postgres://postgres@127.0.0.1:5432/postgres";

/// A new database on the PostgreSQL of `BENTO_TEST_POSTGRES_URL`.
#[derive(Debug)]
pub struct PostgresDatabase {
    server: PgConnectOptions,
    name: String,
}

impl PostgresDatabase {
    /// Creates it.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub async fn create() -> Result<Self> {
        let url =
            std::env::var("BENTO_TEST_POSTGRES_URL").unwrap_or_else(|_| POSTGRES_URL.to_owned());
        let database = Self {
            server: PgConnectOptions::from_str(&url)?,
            name: unique_name(),
        };
        database
            .execute(&format!("CREATE DATABASE {}", database.name))
            .await?;
        Ok(database)
    }

    /// A pool of so many connections, warmed up.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn pool(&self, connections: u32, synchronous_commit: &str) -> Result<PgPool> {
        let options = self.server.clone().database(&self.name);
        let options = options.options([("synchronous_commit", synchronous_commit)]);
        let pool = PgPoolOptions::new()
            .min_connections(connections)
            .max_connections(connections);
        Ok(pool.connect_with(options).await?)
    }

    /// Its address, for what connects by itself.
    pub fn url(&self) -> String {
        self.server
            .clone()
            .database(&self.name)
            .to_url_lossy()
            .to_string()
    }

    /// Drops it.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn drop(self) -> Result {
        self.execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name))
            .await
    }

    async fn execute(&self, sql: &str) -> Result {
        let mut connection = PgConnection::connect_with(&self.server).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        Ok(())
    }
}

/// The server and its version, for the environment line.
///
/// # Errors
/// When the server is gone.
pub async fn version(pool: &PgPool) -> Result<String> {
    let version: String = sqlx::query_scalar("SHOW server_version")
        .fetch_one(pool)
        .await?;
    Ok(format!("PostgreSQL {version}"))
}

/// A name that no other run has, also one at the same time.
fn unique_name() -> String {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!(
        "bento_bench_{}_{}",
        std::process::id(),
        since_epoch.as_millis()
    )
}
