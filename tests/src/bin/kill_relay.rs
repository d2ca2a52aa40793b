//! A relay in a process of its own that aborts at a named point, as if it were killed there:
//! publishes into the table `broker_log`.
//!
//! `kill_relay NAME URL POINT`. A line on its standard input aborts it too; it drains and ends when
//! that is closed.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bento_core::outbox::{ShardId, Sharding};
use bento_relay::Relay;
use bento_relay::publish::{Delivery, HandlerRoute, PublishError, Publisher};
use bento_relay::store::{
    Advance, Advanced, Heartbeat, Holdings, Prune, RelayId, RelayStore, StoreError,
};
use bento_seaorm::OutboxStore;
use bento_tests::broker_log::{BrokerLog, connect};
use bento_tests::kill::{BATCH, LEASE, Point, SETTLES_BEFORE_ABORT, WORKERS};
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or(format!("no {what}"));
    let (name, url, point) = (
        next("name")?,
        next("url")?,
        Point::from_name(&next("point")?),
    );
    let database = connect(url).await?;
    let publisher = Doomed {
        inner: BrokerLog {
            name,
            database: database.clone(),
        },
        point,
    };
    let relay = Relay::builder(
        Doomed {
            inner: OutboxStore::new(database),
            point,
        },
        publisher,
    )
    .batch(BATCH)
    .workers(WORKERS)
    .lease(LEASE)
    .poll(Duration::from_millis(5), Duration::from_millis(20))
    .start()?;
    if BufReader::new(tokio::io::stdin())
        .read_line(&mut String::new())
        .await?
        > 0
    {
        std::process::abort();
    }
    relay.stop().await?;
    Ok(())
}

/// A store that passes every call on until the kill point is reached.
#[derive(Debug)]
struct Doomed<T> {
    inner: T,
    point: Point,
}

impl<T> Doomed<T> {
    fn abort_at(&self, point: Point) {
        if self.point == point {
            std::process::abort();
        }
    }
}

impl Publisher for Doomed<BrokerLog> {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        let answers = self.inner.publish(batch).await;
        if answers.iter().any(Result::is_ok) {
            self.abort_at(Point::AfterPublish);
        }
        answers
    }
}

impl RelayStore for Doomed<OutboxStore> {
    async fn open(&self) -> Result<Sharding, StoreError> {
        self.inner.open().await
    }

    async fn is_published(&self) -> Result<bool, StoreError> {
        self.inner.is_published().await
    }

    async fn record_handlers(&self, handlers: &[HandlerRoute]) -> Result<(), StoreError> {
        self.inner.record_handlers(handlers).await
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<Holdings, StoreError> {
        let holdings = self.inner.heartbeat(heartbeat).await?;
        if !holdings.leases.is_empty() {
            self.abort_at(Point::AfterClaim);
        }
        Ok(holdings)
    }

    /// Settles slowly at the point where the process is to be killed.
    async fn advance(&self, advance: Advance) -> Result<Advanced, StoreError> {
        if self.point == Point::DuringSettle && !advance.settled.is_empty() {
            tokio::spawn(async {
                tokio::time::sleep(SETTLES_BEFORE_ABORT).await;
                std::process::abort();
            });
        }
        self.inner.advance(advance).await
    }

    async fn poll(
        &self,
        shards: &[ShardId],
        without: &[Arc<str>],
    ) -> Result<Vec<ShardId>, StoreError> {
        self.inner.poll(shards, without).await
    }

    async fn release(&self, relay: RelayId) -> Result<(), StoreError> {
        self.inner.release(relay).await
    }

    async fn prune(&self, prune: Prune) -> Result<Option<u64>, StoreError> {
        self.inner.prune(prune).await
    }
}
