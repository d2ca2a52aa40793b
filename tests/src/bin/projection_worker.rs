//! A process with a projection in one version or two. At its point it says so on its standard
//! output and stands still, or goes on, to be killed.
//!
//! `projection_worker URL RELEASE POINT CALL LAST`. CALL is the number of the call at which it
//! reaches the point, LAST the number of the events in the store. It drains and ends when its
//! standard input is closed.
#![allow(clippy::print_stdout, reason = "the point is told to the parent")]

use std::collections::BTreeMap;
use std::error::Error;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bento_handlers::{
    Batch, Dispatcher, HandleError, Handlers, ProjectionSettings, event_handler, projection,
};
use bento_relay::Relay;
use bento_relay::publish::{
    Answering, Delivery, Destination, HandlerRoute, PublishError, Publisher, Publishers,
    RelayTerms, UnfitPublisher,
};
use bento_seaorm::{OutboxConnection, OutboxStore, OutboxTransaction};
use bento_tests::broker_log::connect;
use bento_tests::ledgers::LedgerEvent;
use bento_tests::projecting::{LEASE, NOTED, Noted, PAGE, Point, Release};
use sea_orm::{ConnectionTrait, Statement};
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or(format!("no {what}"));
    let (url, release) = (next("url")?, Release::from_name(&next("release")?));
    let point = Point::from_name(&next("point")?);
    let (call, last) = (next("call")?.parse()?, next("last")?.parse()?);
    let doom = Doom {
        point,
        left: Arc::new(AtomicU32::new(call)),
        last,
    };
    let store = OutboxStore::new(connect(url.clone()).await?);
    let db = OutboxConnection::new(connect(url).await?);
    let handlers = Handlers::registered();
    let handlers = match release {
        Release::First => handlers
            .projection(Balances(doom.clone()))
            .retain_projections(|projection| projection.version == 1),
        Release::Both => handlers
            .projection(Balances(Doom::nowhere()))
            .projection(BalancesAndLargest(doom.clone())),
    };
    let settings = ProjectionSettings::default().page(PAGE);
    let inner = handlers
        .configure_projection("balances", settings)
        .build(&db)?;
    let publisher = Doomed { inner, doom };
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
    /// The number of the events in the store, at the end of a build.
    last: i64,
}

impl Doom {
    fn nowhere() -> Self {
        Self {
            point: Point::Never,
            left: Arc::default(),
            last: 0,
        }
    }

    /// Tells it if this is the point, and the call the last one, and stands still unless the point
    /// goes on.
    async fn at(&self, point: Point) {
        if self.point != point {
            return;
        }
        let left = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                Some(left.saturating_sub(1))
            });
        if left == Ok(1) {
            println!("here");
        }
        if left.is_ok_and(|left| left <= 1) && !point.goes_on() {
            pending().await
        }
    }

    /// The points behind the writes of a call, when so many events are projected.
    async fn after_project(&self, projected: i64) {
        self.at(Point::AfterProject).await;
        self.at(Point::AroundCommit).await;
        if projected >= self.last {
            self.at(Point::BeforeSwap).await;
            self.at(Point::AroundSwap).await;
        }
    }
}

#[projection(name = "balances", version = 1, views = "balances")]
struct Balances(Doom);

#[projection(name = "balances", version = 2, views = "balances")]
struct BalancesAndLargest(Doom);

/// The credits of a ledger in a batch.
#[derive(Default)]
struct Credits {
    cents: i64,
    entries: i64,
    largest: i64,
}

impl Balances {
    async fn project(
        &self,
        events: Batch<LedgerEvent>,
        tx: &OutboxTransaction,
    ) -> Result<(), HandleError> {
        self.0.at(Point::BeforeProject).await;
        for (id, credits) in credits(&events, 1)? {
            let Credits { cents, entries, .. } = credits;
            let set = format!("cents = cents + {cents}, entries = entries + {entries}");
            let insert = format!("INSERT INTO balances_v1 VALUES ({id}, {cents}, {entries})");
            add(tx, "balances_v1", &id, &set, &insert).await?;
        }
        self.0.after_project(0).await;
        Ok(())
    }
}

impl BalancesAndLargest {
    async fn project(
        &self,
        events: Batch<LedgerEvent>,
        tx: &OutboxTransaction,
    ) -> Result<(), HandleError> {
        self.0.at(Point::BeforeProject).await;
        for (id, credits) in credits(&events, 2)? {
            let Credits {
                cents,
                entries,
                largest,
            } = credits;
            let set = format!(
                "cents = cents + {cents}, entries = entries + {entries}, largest = CASE WHEN \
                 largest < {largest} THEN {largest} ELSE largest END"
            );
            let insert =
                format!("INSERT INTO balances_v2 VALUES ({id}, {cents}, {entries}, {largest})");
            add(tx, "balances_v2", &id, &set, &insert).await?;
        }
        let sum = "SELECT entries FROM balances_v2";
        let sum = Statement::from_string(tx.get_database_backend(), sum);
        let rows = tx.query_all_raw(sum).await?;
        let entries = rows.iter().map(|row| row.try_get_by_index::<i64>(0));
        let entries = entries.sum::<Result<i64, _>>()?;
        self.0.after_project(entries).await;
        Ok(())
    }
}

/// The credits of each ledger; raises an event for some of them.
fn credits(
    events: &Batch<LedgerEvent>,
    version: i64,
) -> Result<BTreeMap<String, Credits>, HandleError> {
    let mut credits: BTreeMap<String, Credits> = BTreeMap::new();
    for (event, context) in events.with_context() {
        let LedgerEvent::Credited(credited) = event;
        let envelope = context.envelope();
        let of_ledger = credits.entry(envelope.aggregate_id.clone()).or_default();
        of_ledger.cents += credited.cents;
        of_ledger.entries += 1;
        of_ledger.largest = of_ledger.largest.max(credited.cents);
        if credited.cents == NOTED {
            let source = envelope.event_id.to_string();
            bento_core::raise(Noted { source, version })?;
        }
    }
    Ok(credits)
}

/// Adds to the row of a ledger, so that an event that comes twice is seen.
async fn add(
    tx: &OutboxTransaction,
    table: &str,
    id: &str,
    set: &str,
    insert: &str,
) -> Result<(), HandleError> {
    let update = format!("UPDATE {table} SET {set} WHERE id = {id}");
    if tx.execute_unprepared(&update).await?.rows_affected() == 0 {
        tx.execute_unprepared(insert).await?;
    }
    Ok(())
}

/// Writes down each event that was raised; one that was raised twice has two ids.
#[event_handler(name = "balances.noted", from = beginning)]
async fn note(event: Noted, tx: &OutboxTransaction) -> Result<(), HandleError> {
    let Noted { source, version } = &event;
    let insert = format!("INSERT INTO noted VALUES ('{source}', {version})");
    tx.execute_unprepared(&insert).await?;
    Ok(())
}

/// A dispatcher whose process is killed before a batch of the projection, or behind its commit.
#[derive(Debug)]
struct Doomed {
    inner: Dispatcher,
    doom: Doom,
}

impl Publisher for Doomed {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        let is_projected = self.inner.chains(&batch[0].destination);
        if is_projected {
            self.doom.at(Point::BeforeLock).await;
        }
        let answers = self.inner.publish(batch).await;
        if is_projected {
            self.doom.at(Point::BeforeAnswer).await;
        }
        answers
    }

    fn chains(&self, destination: &Destination) -> bool {
        self.inner.chains(destination)
    }

    fn answering(&self, destination: &Destination) -> Answering {
        self.inner.answering(destination)
    }

    fn serves(&self, destination: &Destination) -> bool {
        self.inner.serves(destination)
    }

    fn handlers(&self) -> Vec<HandlerRoute> {
        Publisher::handlers(&self.inner)
    }

    fn prepare(&self, terms: &RelayTerms) -> Result<(), UnfitPublisher> {
        self.inner.prepare(terms)
    }
}
