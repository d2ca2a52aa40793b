//! A database with an outbox, and jobs that take their time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use bento_core::{PendingEvents, aggregate, domain_event};
use bento_handlers::Dispatcher;
use bento_relay::publish::Publishers;
use bento_relay::{Relay, RelayBuilder, Wake};
use bento_seaorm::{OutboxConnection, OutboxStore};
use sea_orm::DbErr;
use tokio::time::Instant;

use crate::log::{Log, Noted};
use crate::support::TestDatabase;

/// The number of aggregates.
pub const QUEUES: i64 = 1000;

/// The connections of the handlers.
pub const POOL: u32 = 20;

/// A job waits in a queue.
#[domain_event(schema = "job.queued", version = 1)]
#[derive(Clone, Debug)]
pub struct JobQueued {
    pub number: i64,
    /// The time that the job takes, in milliseconds.
    pub takes: u64,
}

#[aggregate(events(JobQueued))]
#[derive(Debug)]
pub struct Queue {
    pub id: i64,
    pub events: PendingEvents,
}

/// A job that was committed.
#[derive(Clone, Copy, Debug)]
pub struct Committed {
    pub queue: i64,
    pub takes: u64,
    pub at: Instant,
}

pub struct Stage<'a> {
    database: &'a TestDatabase,
    outbox: OutboxConnection,
    wake: Wake,
    pub log: Log,
    committed: Mutex<BTreeMap<i64, Committed>>,
}

impl<'a> Stage<'a> {
    pub async fn on(database: &'a TestDatabase) -> Self {
        let wake = Wake::new();
        let outbox = OutboxConnection::builder(database.connect(2).await)
            .wake(&wake)
            .build();
        Self {
            database,
            outbox,
            wake,
            log: Log::default(),
            committed: Mutex::default(),
        }
    }

    /// The connection for handlers.
    pub async fn handlers_db(&self) -> OutboxConnection {
        OutboxConnection::new(self.database.connect(POOL).await)
    }

    /// A relay with these handlers, and with these publishers beside them.
    pub async fn relay(
        &self,
        publishers: Publishers,
        dispatcher: Dispatcher,
    ) -> RelayBuilder<OutboxStore, Publishers> {
        let store = OutboxStore::new(self.database.connect(8).await);
        let noted = Noted(dispatcher, self.log.clone());
        Relay::builder(store, publishers.with_handlers(noted)).wake(&self.wake)
    }

    /// Commits jobs in one transaction, each in the queue of its number.
    pub async fn commit(&self, jobs: &[(i64, u64)]) {
        let queue = |number: i64| number % QUEUES + 1;
        let work = self.outbox.transaction_async(async |_| {
            for &(number, takes) in jobs {
                Queue::new(queue(number)).raise(JobQueued { number, takes });
            }
            Ok::<_, DbErr>(())
        });
        work.await.unwrap();
        let at = Instant::now();
        let mut committed = self.committed.lock().unwrap();
        for &(number, takes) in jobs {
            let queue = queue(number);
            committed.insert(number, Committed { queue, takes, at });
        }
    }

    /// The jobs that were committed, by number.
    pub fn committed(&self) -> BTreeMap<i64, Committed> {
        self.committed.lock().unwrap().clone()
    }

    /// Waits until nothing is pending, held or dead.
    pub async fn drained(&self) {
        let left = "SELECT count(*) FROM bento_outbox_status";
        while self.database.number(left).await > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

impl Queue {
    fn new(id: i64) -> Self {
        let events = PendingEvents::default();
        Self { id, events }
    }
}

/// The number of events that is asked for.
pub fn events(default: usize) -> usize {
    let asked = std::env::var("BENTO_TEST_HANDLER_LOAD").ok();
    asked.map_or(default, |events| events.parse().unwrap())
}

/// Prints numbers and leaves them in a file.
pub fn tell(what: &str, numbers: &str) {
    print!("{numbers}");
    let name = format!("handler-{what}.txt");
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name), numbers).unwrap();
}
