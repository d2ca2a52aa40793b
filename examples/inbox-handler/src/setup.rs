//! The parts that every service has: connections, tables, and their end.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::{env, fs};

use bento::{EventId, Report};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr, Statement};

/// New in every run.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    env::temp_dir().join(format!("bento-inbox-handler-{}.sqlite", EventId::new()))
});

/// Makes the tables, with 20 packets in stock. Returns a pool for the inbox and one for handlers.
pub async fn connect() -> Result<(DatabaseConnection, DatabaseConnection), Report> {
    let sqlite = || format!("sqlite://{}?mode=rwc", FILE.display());
    let url = env::var("DATABASE_URL").unwrap_or_else(|_| sqlite());
    let options = ConnectOptions::new(url).sqlx_logging(false).to_owned();
    let (inbox, handlers) = (
        Database::connect(options.clone()).await?,
        Database::connect(options).await?,
    );
    bento::migrate(&inbox).await?;
    for sql in [
        "CREATE TABLE stock (free BIGINT NOT NULL)",
        "INSERT INTO stock VALUES (20)",
    ] {
        inbox.execute_unprepared(sql).await?;
    }
    Ok((inbox, handlers))
}

/// The packets that are left.
pub async fn free(db: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let select = Statement::from_string(db.get_database_backend(), "SELECT free FROM stock");
    let row = db.query_one_raw(select).await?;
    row.map_or(Ok(0), |row| row.try_get_by_index(0))
}

/// Closes both pools, and removes the SQLite file.
pub async fn close(inbox: DatabaseConnection, handlers: DatabaseConnection) -> Result<(), Report> {
    handlers.close().await?;
    inbox.close().await?;
    if FILE.exists() {
        fs::remove_file(&*FILE)?;
    }
    Ok(())
}
