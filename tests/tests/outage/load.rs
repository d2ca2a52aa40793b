//! A service that commits events all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bento_core::EventId;
use bento_seaorm::OutboxConnection;
use bento_testkit::Ledger;
use bento_tests::{Account, Counted};
use sea_orm::DbErr;
use tokio::task::JoinHandle;

const AGGREGATES: i64 = 20;
/// From one transaction to the next: 200 events in a second.
const PAUSE: Duration = Duration::from_millis(100);

/// Commits one event of each aggregate in every transaction.
pub struct Load {
    ledger: Ledger,
    is_over: Arc<AtomicBool>,
    task: JoinHandle<usize>,
}

impl Load {
    pub fn start(outbox: OutboxConnection) -> Self {
        let (ledger, is_over) = (Ledger::new(), Arc::<AtomicBool>::default());
        let task = tokio::spawn(commit(outbox, ledger.clone(), Arc::clone(&is_over)));
        Self {
            ledger,
            is_over,
            task,
        }
    }

    /// Returns what was committed, and how many that is.
    pub async fn stop(self) -> (Ledger, usize) {
        self.is_over.store(true, Ordering::Relaxed);
        (self.ledger, self.task.await.unwrap())
    }
}

async fn commit(outbox: OutboxConnection, ledger: Ledger, is_over: Arc<AtomicBool>) -> usize {
    let mut ticks = tokio::time::interval(PAUSE);
    let mut rounds = 0;
    while !is_over.load(Ordering::Relaxed) {
        ticks.tick().await;
        rounds += 1;
        let events: Vec<_> = (1..=AGGREGATES)
            .map(|account| (account, EventId::new()))
            .collect();
        let raise = outbox.transaction_async(async |_| {
            for (account, event) in &events {
                Account::new(*account).raise(Counted {
                    token: event.to_string(),
                });
            }
            Ok::<_, DbErr>(())
        });
        raise.await.unwrap();
        for (account, event) in events {
            ledger.commit(event, &account.to_string(), rounds);
        }
    }
    (rounds * AGGREGATES) as usize
}
