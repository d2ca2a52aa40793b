//! `xtask-probe <url>`: logs in to the database, prints its version, and exits with 0 only if both worked.
//!
//! A port that accepts connections is not yet a server that the tests can use. This asks through the same
//! driver as the tests, so its yes is theirs. It is a crate of its own to keep `xtask` quick to build.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what this program is for")]

use std::process::ExitCode;
use std::time::Duration;

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DbErr};

const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(url) = std::env::args().nth(1) else {
        eprintln!("usage: xtask-probe <database url>");
        return ExitCode::FAILURE;
    };
    match server_version(url).await {
        Ok(version) => {
            println!("{version}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn server_version(url: String) -> Result<String, DbErr> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).connect_timeout(PATIENCE).acquire_timeout(PATIENCE).sqlx_logging(false);
    let database = Database::connect(options).await?;
    let row = database
        .query_one_raw(sea_orm::Statement::from_string(database.get_database_backend(), "SELECT version()"))
        .await?
        .ok_or_else(|| DbErr::Custom("the server has no version".to_owned()))?;
    row.try_get_by_index(0)
}
