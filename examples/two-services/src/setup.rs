//! The database: a file of SQLite for one run, or what `DATABASE_URL` names.

use std::path::PathBuf;
use std::{env, fs};

use bento::{EventId, Report};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr};

/// The pools of connections.
#[derive(Debug)]
pub struct Databases {
    url: String,
    file: PathBuf,
    open: Vec<DatabaseConnection>,
}

impl Databases {
    pub fn new() -> Self {
        let name = format!("bento-two-services-{}.sqlite", EventId::new());
        let file = env::temp_dir().join(name);
        let sqlite = || format!("sqlite://{}?mode=rwc", file.display());
        Self {
            url: env::var("DATABASE_URL").unwrap_or_else(|_| sqlite()),
            file,
            open: Vec::new(),
        }
    }

    /// Another pool of the same database.
    pub async fn connect(&mut self) -> Result<DatabaseConnection, DbErr> {
        let options = ConnectOptions::new(&self.url)
            .sqlx_logging(false)
            .to_owned();
        let database = Database::connect(options).await?;
        if database.get_database_backend() == DbBackend::Sqlite {
            // Readers do not wait for the one that writes.
            let wal = "PRAGMA journal_mode = WAL";
            database.execute_unprepared(wal).await?;
        }
        self.open.push(database.clone());
        Ok(database)
    }

    /// Closes all pools, and removes the file.
    pub async fn close(self) -> Result<(), Report> {
        for database in self.open {
            database.close().await?;
        }
        if self.file.exists() {
            fs::remove_file(self.file)?;
        }
        Ok(())
    }
}
