//! Asks a database.

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr, Statement};

use crate::{PATIENCE, Result};

pub(crate) async fn version(url: String) -> Result<String> {
    let database = connect(url).await?;
    let asked = Statement::from_string(database.get_database_backend(), "SELECT version()");
    let row = database
        .query_one_raw(asked)
        .await?
        .ok_or("the server has no version")?;
    Ok(row.try_get_by_index(0)?)
}

pub(crate) async fn execute(url: String, statement: &str) -> Result<()> {
    connect(url).await?.execute_unprepared(statement).await?;
    Ok(())
}

async fn connect(url: String) -> std::result::Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(1)
        .connect_timeout(PATIENCE)
        .acquire_timeout(PATIENCE)
        .sqlx_logging(false);
    Database::connect(options).await
}
