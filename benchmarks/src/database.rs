//! A database of one run's own, dropped when the run ends: on PostgreSQL, on MariaDB, or in a file
//! of SQLite.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, MySqlPool, SqlitePool};

use crate::Result;

/// The URL of PostgreSQL, unless the environment names another.
const POSTGRES_URL: &str = "postgres://postgres@127.0.0.1:5432/postgres";
/// The URL of MariaDB, unless the environment names another.
const MYSQL_URL: &str = "mysql://root@127.0.0.1:3306/";

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
    /// If the server is not there or refuses.
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

    /// A pool of this number of connections, warmed up.
    ///
    /// # Errors
    /// If the server refuses.
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
    /// If the server refuses.
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

/// A new database on the MariaDB of `BENTO_TEST_MYSQL_URL`.
#[derive(Debug)]
pub struct MySqlDatabase {
    server: MySqlConnectOptions,
    name: String,
}

impl MySqlDatabase {
    /// Creates it.
    ///
    /// # Errors
    /// If the server is not there or refuses.
    pub async fn create() -> Result<Self> {
        let url = std::env::var("BENTO_TEST_MYSQL_URL").unwrap_or_else(|_| MYSQL_URL.to_owned());
        let database = Self {
            server: MySqlConnectOptions::from_str(&url)?,
            name: unique_name(),
        };
        database
            .execute(&format!("CREATE DATABASE {}", database.name))
            .await?;
        Ok(database)
    }

    /// A pool of this number of connections, warmed up.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn pool(&self, connections: u32) -> Result<MySqlPool> {
        let pool = MySqlPoolOptions::new()
            .min_connections(connections)
            .max_connections(connections);
        Ok(pool
            .connect_with(self.server.clone().database(&self.name))
            .await?)
    }

    /// Drops it.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn drop(self) -> Result {
        self.execute(&format!("DROP DATABASE {}", self.name)).await
    }

    async fn execute(&self, sql: &str) -> Result {
        let mut connection = MySqlConnection::connect_with(&self.server).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        Ok(())
    }
}

/// A new file of SQLite among the temporary ones.
#[derive(Debug)]
pub struct SqliteFile(PathBuf);

impl SqliteFile {
    /// Names it; the first connection creates it.
    #[expect(clippy::new_without_default, reason = "each one is another file")]
    pub fn new() -> Self {
        Self(std::env::temp_dir().join(format!("{}.sqlite", unique_name())))
    }

    /// A pool of this number of connections, as a service has it: with a write-ahead log, and
    /// commits that wait for the disk.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub async fn pool(&self, connections: u32) -> Result<SqlitePool> {
        let options = SqliteConnectOptions::new()
            .filename(&self.0)
            .create_if_missing(true);
        let options = options
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        Ok(SqlitePoolOptions::new()
            .max_connections(connections)
            .connect_with(options)
            .await?)
    }

    /// Removes it, with the files beside it.
    ///
    /// # Errors
    /// If it is not there.
    pub fn remove(self) -> Result {
        for end in ["-wal", "-shm"] {
            // The last connection removes them.
            let _ = std::fs::remove_file(format!("{}{end}", self.0.display()));
        }
        Ok(std::fs::remove_file(self.0)?)
    }
}

/// The server and its version, for the environment line.
///
/// # Errors
/// If the server is gone.
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
