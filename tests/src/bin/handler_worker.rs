//! A process with a handler that raises counters. At its point it says so on its standard output
//! and stands still, to be killed.
//!
//! `handler_worker URL POINT CALL MODE`. The mode `control` leaves the record of handled events
//! out. It drains and ends when its standard input is closed.
#![allow(clippy::print_stdout, reason = "the point is told to the parent")]

use std::error::Error;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bento_core::Envelope;
use bento_handlers::{Dispatcher, HandleError, Handlers, State, event_handler};
use bento_relay::Relay;
use bento_relay::publish::{
    Answering, Delivery, Destination, HandlerRoute, PublishError, Publisher, Publishers,
    RelayTerms, UnfitPublisher,
};
use bento_seaorm::{OutboxConnection, OutboxStore, OutboxTransaction};
use bento_tests::broker_log::connect;
use bento_tests::handling::{CounterRaised, LEASE, Point};
use sea_orm::ConnectionTrait;
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or(format!("no {what}"));
    let (url, point) = (next("url")?, Point::from_name(&next("point")?));
    let (call, mode) = (next("call")?.parse()?, next("mode")?);
    let doom = Doom {
        point,
        left: Arc::new(AtomicU32::new(call)),
    };
    let store = OutboxStore::new(connect(url.clone()).await?);
    let db = OutboxConnection::new(connect(url).await?);
    let inner = Handlers::registered().state(doom.clone()).build(&db)?;
    let publisher = Doomed {
        inner,
        doom,
        control: (mode == "control").then_some(db),
    };
    let relay = Relay::builder(store, Publishers::new().with_handlers(publisher))
        .lease(LEASE)
        .publish_timeout(Duration::from_secs(5))
        .poll(Duration::from_millis(5), Duration::from_millis(20))
        .start()?;
    let mut line = String::new();
    BufReader::new(tokio::io::stdin())
        .read_line(&mut line)
        .await?;
    relay.stop().await?;
    Ok(())
}

/// The point at which the process is killed, and the calls until then.
#[derive(Clone, Debug)]
struct Doom {
    point: Point,
    left: Arc<AtomicU32>,
}

impl Doom {
    /// Stands still if this is the point, and the call the last one.
    async fn at(&self, point: Point) {
        if self.point != point {
            return;
        }
        let left = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                Some(left.saturating_sub(1))
            });
        match left {
            Ok(1) => {
                println!("here");
                pending().await
            }
            Ok(0) => pending().await,
            _ => {}
        }
    }
}

#[event_handler(name = "counters.count", from = beginning)]
async fn count(
    event: CounterRaised,
    tx: &OutboxTransaction,
    State(doom): State<Doom>,
) -> Result<(), HandleError> {
    doom.at(Point::BeforeEffect).await;
    raise(tx, event.counter).await?;
    doom.at(Point::BeforeCommit).await;
    Ok(())
}

async fn raise(tx: &OutboxTransaction, counter: i64) -> Result<(), HandleError> {
    let update = format!("UPDATE counters SET n = n + 1 WHERE id = {counter}");
    tx.execute_unprepared(&update).await?;
    Ok(())
}

/// A dispatcher that is killed after a commit; or one that keeps no record, for comparison.
#[derive(Debug)]
struct Doomed {
    inner: Dispatcher,
    doom: Doom,
    control: Option<OutboxConnection>,
}

impl Publisher for Doomed {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        let answers = match &self.control {
            Some(db) => vec![handle_without_record(db, &batch[0].envelope).await],
            None => self.inner.publish(batch).await,
        };
        self.doom.at(Point::BeforeAdvance).await;
        answers
    }

    fn answering(&self, destination: &Destination) -> Answering {
        self.inner.answering(destination)
    }

    fn handlers(&self) -> Vec<HandlerRoute> {
        Publisher::handlers(&self.inner)
    }

    fn prepare(&self, terms: &RelayTerms) -> Result<(), UnfitPublisher> {
        self.inner.prepare(terms)
    }
}

async fn handle_without_record(
    db: &OutboxConnection,
    envelope: &Envelope,
) -> Result<(), PublishError> {
    let handled = db.transaction_async(async |tx| {
        let event: CounterRaised = envelope.decode()?;
        raise(tx, event.counter).await
    });
    let handled = handled.await;
    handled.map_err(|error| PublishError::transient(format!("{error:?}")))
}
