//! A process of one release or deployment: a relay that publishes into the table `broker_log` or
//! nowhere, and has the handlers that it is told to have.
//!
//! `release_worker NAME URL HANDLERS LOG`. HANDLERS is a list of names with commas, or `none`; LOG
//! is `log` or `none`. It drains and ends when its standard input is closed.

use std::error::Error;

use bento_handlers::{HandleError, HandlerDescriptor, Handlers, State, event_handler};
use bento_relay::Relay;
use bento_relay::publish::{Destination, Publishers};
use bento_relay::route::Router;
use bento_seaorm::{OutboxConnection, OutboxStore, OutboxTransaction};
use bento_tests::Counted;
use bento_tests::broker_log::{BrokerLog, connect};
use bento_tests::releases::{CALL_TIMEOUT, LEASE, MAIL, STOCK};
use sea_orm::ConnectionTrait as _;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

/// The name of the process.
#[derive(Clone, Debug)]
struct Name(String);

#[event_handler(name = "release.stock")]
async fn stock(
    event: Counted,
    tx: &OutboxTransaction,
    State(name): State<Name>,
) -> Result<(), HandleError> {
    note(tx, STOCK, &name, &event).await
}

#[event_handler(name = "release.mail")]
async fn mail(
    event: Counted,
    tx: &OutboxTransaction,
    State(name): State<Name>,
) -> Result<(), HandleError> {
    note(tx, MAIL, &name, &event).await
}

/// Notes that a handler has handled an event. A repetition would be a second row.
async fn note(
    tx: &OutboxTransaction,
    handler: &str,
    Name(process): &Name,
    Counted { token }: &Counted,
) -> Result<(), HandleError> {
    let insert = format!(
        "INSERT INTO handled (handler, process, token) VALUES ('{handler}', '{process}', \
         '{token}')"
    );
    tx.execute_unprepared(&insert).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or(format!("no {what}"));
    let (name, url) = (next("name")?, next("url")?);
    let (handlers, log) = (next("handlers")?, next("log")?);
    let database = connect(url.clone()).await?;
    let mut publishers = Publishers::new();
    if log == "log" {
        let broker = BrokerLog {
            name: name.clone(),
            database: database.clone(),
        };
        publishers = publishers.with("log", broker);
    }
    if handlers != "none" {
        let is_named =
            |handler: &HandlerDescriptor| handlers.split(',').any(|name| name == handler.name);
        let dispatcher = Handlers::registered()
            .retain(is_named)
            .state(Name(name))
            .build(&OutboxConnection::new(connect(url).await?))?;
        publishers = publishers.with_handlers(dispatcher);
    }
    let mut relay = Relay::builder(OutboxStore::new(database), publishers)
        .lease(LEASE)
        .publish_timeout(CALL_TIMEOUT)
        .poll(Duration::from_millis(5), Duration::from_millis(20));
    if log == "log" {
        relay = relay.router(Router::to(Destination::new("log")));
    }
    let relay = relay.start()?;
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    relay.stop().await?;
    Ok(())
}
