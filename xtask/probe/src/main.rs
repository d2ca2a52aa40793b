//! `xtask-probe <url> [statement]`: logs in to the database, prints its version, and exits with 0 only if both worked. With a
//! statement it runs that instead.
//!
//! A port that accepts connections is not yet a server that the tests can use. This asks through the same
//! driver as the tests, so its yes is theirs. It is a crate of its own to keep `xtask` quick to build.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what this program is for")]

use std::process::ExitCode;
use std::time::Duration;

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr};

const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(url) = arguments.next() else {
        eprintln!("usage: xtask-probe <database url> [statement]");
        return ExitCode::FAILURE;
    };
    match run(url, arguments.next()).await {
        Ok(said) => {
            said.iter().for_each(|said| println!("{said}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(url: String, statement: Option<String>) -> Result<Option<String>, DbErr> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).connect_timeout(PATIENCE).acquire_timeout(PATIENCE).sqlx_logging(false);
    let database = Database::connect(options).await?;
    match statement {
        None => server_version(&database).await.map(Some),
        Some(statement) => database.execute_unprepared(&statement).await.map(|_| None),
    }
}

async fn server_version(database: &DatabaseConnection) -> Result<String, DbErr> {
    let row = database
        .query_one_raw(sea_orm::Statement::from_string(database.get_database_backend(), "SELECT version()"))
        .await?
        .ok_or_else(|| DbErr::Custom("the server has no version".to_owned()))?;
    row.try_get_by_index(0)
}
