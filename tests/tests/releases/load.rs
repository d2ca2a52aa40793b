//! Events that are committed one after the other while processes come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use bento_seaorm::OutboxConnection;
use bento_tests::{Account, Counted};
use sea_orm::DbErr;
use tokio::task::JoinHandle;
use tokio::time::interval;

/// The number of accounts, each an aggregate.
pub const ACCOUNTS: i64 = 50;

/// From one event to the next.
const PAUSE: Duration = Duration::from_millis(10);

/// The events are numbered from 0 in the order of their commits, in turn for each account.
pub struct Load {
    next: Arc<AtomicI64>,
    is_over: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Load {
    /// Begins to commit events from this number on.
    pub fn from(first: i64, outbox: OutboxConnection) -> Self {
        let (next, is_over) = (
            Arc::new(AtomicI64::new(first)),
            Arc::new(AtomicBool::new(false)),
        );
        let task = tokio::spawn(run(outbox, Arc::clone(&next), Arc::clone(&is_over)));
        Self {
            next,
            is_over,
            task,
        }
    }

    /// The number of the next event whose transaction begins.
    pub fn next(&self) -> i64 {
        self.next.load(Ordering::SeqCst)
    }

    /// Ends the load. Returns the number of the event that would have come next.
    pub async fn stop(self) -> i64 {
        self.is_over.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        self.next.load(Ordering::SeqCst)
    }
}

async fn run(outbox: OutboxConnection, next: Arc<AtomicI64>, is_over: Arc<AtomicBool>) {
    let mut ticks = interval(PAUSE);
    while !is_over.load(Ordering::SeqCst) {
        ticks.tick().await;
        let number = next.fetch_add(1, Ordering::SeqCst);
        commit(&outbox, number).await;
    }
}

/// Commits the event of this number.
pub async fn commit(outbox: &OutboxConnection, number: i64) {
    let raise = outbox.transaction_async(async |_| {
        let token = number.to_string();
        Account::new(number % ACCOUNTS).raise(Counted { token });
        Ok::<_, DbErr>(())
    });
    raise.await.unwrap();
}
