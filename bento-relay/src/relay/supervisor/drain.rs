//! The end of a relay: events in flight are finished and settled, and the leases are released.

use crate::telemetry::{self, TARGET_RELAY};
use bento_core::report::with_causes;
use tokio::task::JoinError;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Report, Supervisor};
use crate::publish::Publisher;
use crate::relay::worker::in_time;
use crate::store::RelayStore;

impl<S: RelayStore, P: Publisher> Supervisor<S, P> {
    /// Lets the workers finish and settle, then releases the shards.
    pub(super) async fn drain(&mut self) {
        self.shards.stop_all();
        let limit = self.shared.settings.drain_timeout;
        let finish = async {
            self.record_late_answers();
            loop {
                // The leases are kept while workers settle; a heartbeat claims nothing now.
                let beat = self.next_beat.unwrap_or_else(Instant::now);
                tokio::select! {
                    biased;
                    report = self.tasks.join_next() => match report {
                        Some(report) => self.take_last(report),
                        None => break,
                    },
                    () = sleep_until(beat), if self.next_beat.is_some() => {
                        self.start_heartbeat(false);
                    }
                }
                self.record_late_answers();
            }
        };
        if timeout(limit, finish).await.is_err() {
            tracing::warn!(
                target: TARGET_RELAY, relay = %self.shared.id, ?limit,
                "stopping took too long; the events in flight will be published again",
            );
            self.tasks.shutdown().await;
        }
        telemetry::count_by(
            telemetry::LEASE_CHANGES,
            "change",
            "released",
            self.shards.len() as u64,
        );
        let released = in_time(
            self.shared.settings.lease,
            self.shared.store.release(self.shared.id),
        )
        .await;
        if let Err(error) = released {
            tracing::warn!(
                target: TARGET_RELAY, relay = %self.shared.id, error = with_causes(&error),
                "the leases could not be released; they will run out",
            );
        }
    }

    /// Takes a report while the relay stops: no new work begins, and shards with unfinished work
    /// are kept.
    fn take_last(&mut self, report: Result<Report, JoinError>) {
        match report {
            Ok(Report::Worker { .. } | Report::Late { .. }) => self.take(report),
            Ok(Report::Beat { asked, result }) => {
                let (every, lease) = (self.shared.settings.heartbeat(), self.shared.settings.lease);
                self.next_beat = Some((asked + every).max(Instant::now()));
                match result {
                    Ok(holdings) => {
                        let changes = self.shards.renew(&holdings.leases, asked + lease);
                        changes
                            .lost
                            .into_iter()
                            .for_each(|lease| self.tell_lost(lease));
                    }
                    Err(_) => self.shards.keep_offered(),
                }
            }
            Ok(Report::Poll { .. } | Report::Prune { .. } | Report::Leftovers { .. }) | Err(_) => {}
        }
    }

    /// Starts a worker on each shard whose only remaining work is to record answers to late waves.
    fn record_late_answers(&mut self) {
        while let Some(shard) = self.shards.next_with_late_answers() {
            self.start_worker(shard);
        }
    }
}
