//! The regular calls of the store and their answers: the heartbeat, the poll for events, the
//! removal of published rows.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bento_core::outbox::ShardId;
use bento_core::report::with_causes;
use futures_util::FutureExt;
use tokio::time::Instant;

use super::{Report, Supervisor};
use crate::publish::Publisher;
use crate::relay::clock::later;
use crate::relay::worker::{OUTAGE, in_time};
use crate::store::{Heartbeat, Holdings, Lease, Leftovers, RelayStore, StoreError};
use crate::telemetry::{self, TARGET_RELAY};

impl<S: RelayStore, P: Publisher> Supervisor<S, P> {
    pub(super) fn start_heartbeat(&mut self, claim: bool) {
        self.next_beat = None;
        let settings = &self.shared.settings;
        let beat = Heartbeat {
            relay: self.shared.id,
            ttl: settings.lease,
            lanes: settings.lanes.clone(),
            claim,
            publishes: !self.shared.publisher.has_only_handlers(),
            handlers: self.shared.roster.served(),
            idle: self.shards.offer(),
        };
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            let asked = Instant::now();
            let call = async { in_time(shared.settings.lease, shared.store.heartbeat(beat)).await };
            Report::Beat {
                asked,
                result: caught(call).await,
            }
        });
    }

    pub(super) fn start_poll(&mut self, now: Instant) {
        let idle = self.shards.idle();
        let blocked = self.shared.breakers.blocked_until(now);
        if idle.is_empty() || blocked.is_some() {
            self.next_poll = Some(blocked.unwrap_or_else(|| self.next_poll(now)));
            return;
        }
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            let without = shared.without(Instant::now());
            let call =
                async { in_time(shared.settings.lease, shared.store.poll(&idle, &without)).await };
            Report::Poll {
                result: caught(call).await,
            }
        });
    }

    pub(super) fn start_prune(&mut self) {
        let Some(prune) = self.shared.settings.prune() else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            // The removal goes on batch by batch, at most until the next one is due.
            let call = async { in_time(prune.every, shared.store.prune(prune)).await };
            Report::Prune {
                result: caught(call).await,
            }
        });
    }

    /// Asks once, as soon as the recorded handlers are known.
    fn look_for_leftovers(&mut self) {
        if !std::mem::replace(&mut self.has_looked, true) {
            let shared = Arc::clone(&self.shared);
            self.tasks.spawn(async move {
                let call = async { in_time(shared.settings.lease, shared.store.leftovers()).await };
                Report::Leftovers {
                    result: caught(call).await,
                }
            });
        }
    }

    /// Warns of rows that belong to nothing which this relay knows, or which is recorded.
    pub(super) fn take_leftovers(
        &mut self,
        result: Result<Vec<(Arc<str>, Leftovers)>, StoreError>,
    ) {
        let shared = &self.shared;
        let found = result.unwrap_or_default().into_iter();
        let unknown =
            found.filter(|(name, _)| !shared.router.knows(name) && !shared.roster.knows(name));
        for (name, Leftovers { held, dead }) in unknown {
            tracing::warn!(
                target: TARGET_RELAY, relay = %shared.id, route = &*name, held, dead,
                "{held} held events and {dead} dead letters belong to `{name}`, which is no \
                 registered handler and no route of this relay; if it was renamed, give it its \
                 old name again, else discard what is left",
            );
        }
    }

    pub(super) fn take_holdings(&mut self, asked: Instant, holdings: Holdings) {
        let now = Instant::now();
        self.failures = 0;
        self.shared.clock.set(asked, holdings.now);
        self.shared.roster.learn(&holdings.handlers);
        self.look_for_leftovers();
        self.next_beat = Some((asked + self.shared.settings.heartbeat()).max(now));
        if !holdings.taken_over.is_empty() {
            tracing::info!(
                target: TARGET_RELAY, relay = %self.shared.id, shards = ?holdings.taken_over,
                "took shards over from a relay that is gone; its events in flight are \
                 published again",
            );
        }
        let until = asked + self.shared.settings.lease;
        let changes = self.shards.renew(&holdings.leases, until);
        self.shared.vitals.holds(self.shards.len());
        if self.shared.vitals.stray(&holdings.stray) && !holdings.stray.is_empty() {
            tracing::warn!(
                target: TARGET_RELAY, relay = %self.shared.id, shards = ?holdings.stray,
                "events are written into shards outside of the recorded sharding; they are \
                 published, but restart the process that writes them: it uses another sharding",
            );
        }
        self.shared.vitals.failing(self.shards.failing());
        for lease in changes.lost {
            self.tell_lost(lease);
        }
        for (change, amount) in [("claimed", changes.claimed), ("released", changes.released)] {
            telemetry::count_by(telemetry::LEASE_CHANGES, "change", change, amount as u64);
        }
        if changes.claimed > 0 {
            self.next_poll = self.next_poll.map(|_| now);
        }
        self.shards.retire(&holdings.surplus);
        if self.shards.has_retired() {
            self.beat_soon(now);
        }
    }

    pub(super) fn take_ready(&mut self, ready: Vec<ShardId>) {
        let now = Instant::now();
        self.failures = 0;
        self.shards.queue_in_turn(ready);
        let again = std::mem::take(&mut self.polls_again);
        self.next_poll = Some(if again { now } else { self.next_poll(now) });
    }

    pub(super) fn take_pruned(&mut self, result: Result<Option<u64>, StoreError>) {
        self.next_prune = self
            .shared
            .settings
            .prune()
            .map(|prune| Instant::now() + prune.every);
        match &result {
            Ok(removed) => telemetry::count(telemetry::PRUNED_EVENTS, removed.unwrap_or_default()),
            Err(error) => tracing::warn!(
                target: TARGET_RELAY, relay = %self.shared.id, error = with_causes(error),
                "published rows could not be pruned, will try again",
            ),
        }
        self.shared
            .vitals
            .pruned(result.err().map(|error| with_causes(&error)));
    }

    pub(super) fn lease_lost(&mut self, lease: Lease) {
        if self.shards.forget(lease) {
            self.tell_lost(lease);
            self.beat_soon(Instant::now());
        }
    }

    pub(super) fn tell_lost(&self, lease: Lease) {
        telemetry::count_by(telemetry::LEASE_CHANGES, "change", "lost", 1);
        tracing::error!(
            target: TARGET_RELAY, relay = %self.shared.id, shard = lease.shard, epoch = lease.epoch,
            "the lease of a shard is lost, to another relay or because its row is gone; events \
             in flight may be published twice",
        );
    }

    pub(super) fn outage(&mut self, error: &StoreError) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.shared.vitals.store_failed(with_causes(error));
        let wait = OUTAGE.wait(self.failures, &mut fastrand::Rng::new());
        tracing::warn!(
            target: TARGET_RELAY, relay = %self.shared.id, error = with_causes(error), ?wait,
            "the outbox store failed, will try again",
        );
        wait
    }

    /// Polls every shard as soon as possible.
    pub(super) fn poll_soon(&mut self) {
        match &mut self.next_poll {
            Some(next) => *next = Instant::now(),
            // A poll is running, and may have passed the shard already.
            None => self.polls_again = true,
        }
    }

    /// Brings the next heartbeat forward, for shards that another relay is to get.
    pub(super) fn beat_soon(&mut self, now: Instant) {
        let soon = now + self.shared.settings.poll_busy;
        self.next_beat = self.next_beat.map(|at| at.min(soon));
    }

    /// Records work on events. More may follow without a wake, so the next poll comes sooner.
    pub(super) fn worked(&mut self, now: Instant) {
        self.pace.worked(now);
        let next = self.next_poll(now);
        self.next_poll = self.next_poll.map(|at| at.min(next));
    }

    /// The time of the next poll, at the latest the next trial of an unavailable destination,
    /// because events held for it wait for that trial alone.
    pub(super) fn next_poll(&mut self, now: Instant) -> Instant {
        if self.workers > 0 {
            self.pace.worked(now);
        }
        let next = later(now, self.pace.interval(now));
        self.shared
            .breakers
            .next_trial(now)
            .map_or(next, |trial| trial.min(next))
    }
}

/// Catches a panic of the store and reports it as an outage, so that the supervisor always gets a
/// report.
async fn caught<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    AssertUnwindSafe(call)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(panicked()))
}

pub(super) fn panicked() -> StoreError {
    StoreError::unavailable("the store panicked")
}
