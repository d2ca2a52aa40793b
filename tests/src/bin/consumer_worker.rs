//! A process with a consumer: from a broker to handlers that raise counters. It tells on its
//! standard output what it receives. At its point it says so and stands still, to be killed.
//!
//! `consumer_worker URL BROKER BROKER_URL NAME HANDLERS POINT CALL MODE`. BROKER is `nats` or
//! `rabbitmq`, NAME that of the stream or queue, HANDLERS a list with commas. The mode `early`
//! acknowledges before the events are stored; `patient` keeps the source for long. It drains and
//! ends when its standard input is closed.
#![allow(clippy::print_stdout, reason = "the point is told to the parent")]

use std::error::Error;
use std::time::Duration;

use bento_core::Envelope;
use bento_handlers::{
    Batch, Consumer, ConsumerSettings, HandleError, HandlerDescriptor, Handlers, State,
    event_handler,
};
use bento_relay::RelaySettings;
use bento_seaorm::{Inbox, OutboxConnection, OutboxTransaction};
use bento_tests::broker_log::connect;
use bento_tests::consuming::doom::Doom;
use bento_tests::consuming::source::{self, Doomed};
use bento_tests::consuming::{BATCH, LEASE, Noted, PATIENT_LEASE, Point, Raised, SOURCE};
use sea_orm::ConnectionTrait;
use tokio::io::AsyncReadExt as _;

#[tokio::main(worker_threads = 4)]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .init();
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or(format!("no {what}"));
    let url = next("url")?;
    let broker = next("broker")?;
    let (broker_url, name) = (next("url of the broker")?, next("name")?);
    let handlers = next("handlers")?;
    let doom = Doom::new(Point::from_name(&next("point")?), next("call")?.parse()?);
    doom.listen();
    let mode = next("mode")?;
    let (is_early, is_patient) = (mode == "early", mode == "patient");
    let source = source::of(&broker, &broker_url, name, is_early)?;
    let source = Doomed::new(source, doom.clone(), is_early);
    let is_named =
        |handler: &HandlerDescriptor| handlers.split(',').any(|name| name == handler.name);
    let handlers = Handlers::registered()
        .retain(is_named)
        .state(doom)
        .build(&OutboxConnection::new(connect(url.clone()).await?))?;
    let mut relay = RelaySettings::default();
    (relay.lease, relay.publish_timeout) = (LEASE, Duration::from_secs(5));
    relay.poll_busy = Duration::from_millis(5);
    relay.poll_idle = Duration::from_millis(50);
    let consumer = Consumer::builder(Inbox::new(connect(url).await?), handlers)
        .settings(ConsumerSettings {
            lease: if is_patient { PATIENT_LEASE } else { LEASE },
            batch: BATCH,
            ..ConsumerSettings::default()
        })
        .relay(relay)
        .source(SOURCE, source)
        .start_in_background()
        .await?;
    println!("started");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    consumer.stop().await?;
    Ok(())
}

#[event_handler(name = "counters.one", from = beginning)]
async fn one(
    event: Raised,
    tx: &OutboxTransaction,
    State(doom): State<Doom>,
) -> Result<(), HandleError> {
    doom.at(Point::BeforeEffect).await;
    raise(tx, "one", event.counter, event.number).await?;
    doom.at(Point::BeforeCommit).await;
    Ok(())
}

#[event_handler(name = "counters.many", from = beginning)]
async fn many(events: Batch<Raised>, tx: &OutboxTransaction) -> Result<(), HandleError> {
    for event in events.iter() {
        raise(tx, "many", event.counter, event.number).await?;
    }
    Ok(())
}

#[event_handler(name = "counters.notes")]
async fn notes(event: Noted, tx: &OutboxTransaction) -> Result<(), HandleError> {
    raise(tx, "notes", event.counter, event.number).await
}

#[event_handler(name = "counters.copies", events = "public.counter", from = beginning)]
async fn copies(copy: Envelope, tx: &OutboxTransaction) -> Result<(), HandleError> {
    let payload: serde_json::Value = serde_json::from_slice(&copy.payload)
        .map_err(|error| HandleError::permanent(error.to_string()))?;
    let field = |name: &str| payload[name].as_i64().unwrap_or_default();
    raise(tx, "copies", field("key"), field("number")).await
}

/// Raises the counter, and notes if the event is not the next one of its counter.
async fn raise(
    tx: &OutboxTransaction,
    table: &str,
    counter: i64,
    number: i64,
) -> Result<(), HandleError> {
    // MySQL assigns from left to right: the last number is compared before it is set.
    let update = format!(
        "UPDATE {table} SET n = n + 1, \
         wrong = wrong + CASE WHEN last_number + 1 = {number} THEN 0 ELSE 1 END, \
         last_number = {number} WHERE id = {counter}"
    );
    tx.execute_unprepared(&update).await?;
    Ok(())
}
