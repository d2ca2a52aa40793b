//! `xtask-probe <url> [statement]`: logs in to the database or broker, prints its version, and
//! exits with 0 only if both worked. With a statement it runs that on the database instead.
//!
//! A port that accepts connections is not yet a server that the tests can use. This asks through
//! the same driver as the tests, so its yes is theirs. It is a crate of its own to keep `xtask`
//! quick to build.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what this program is for"
)]

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

mod broker;
mod database;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(url) = arguments.next() else {
        eprintln!("usage: xtask-probe <url> [statement]");
        return ExitCode::FAILURE;
    };
    match tokio::time::timeout(PATIENCE * 2, run(url, arguments.next())).await {
        Ok(Ok(said)) => {
            said.iter().for_each(|said| println!("{said}"));
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        Err(_) => {
            eprintln!("no answer within {:?}", PATIENCE * 2);
            ExitCode::FAILURE
        }
    }
}

async fn run(url: String, statement: Option<String>) -> Result<Option<String>> {
    let version = match (url.split_once("://").map(|(scheme, _)| scheme), statement) {
        (Some("nats" | "tls"), _) => broker::nats(&url).await?,
        (Some("amqp" | "amqps"), _) => broker::rabbitmq(&url).await?,
        (Some("redis" | "rediss"), _) => broker::redis(&url).await?,
        (Some(_), Some(statement)) => {
            database::execute(url, &statement).await?;
            return Ok(None);
        }
        (Some(_), None) => database::version(url).await?,
        // Kafka's addresses have no scheme.
        (None, _) => broker::kafka(url).await?,
    };
    Ok(Some(version))
}
