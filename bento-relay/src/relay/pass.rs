//! One pass over the outbox, without a running relay.

use std::sync::Arc;
use std::time::Duration;

use crate::telemetry;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at};

use super::deadline::Deadline;
use super::error::RelayError;
use super::in_flight::InFlight;
use super::journal::Tally;
use super::shared::Shared;
use super::worker::{End, Worker};
use crate::machine::BatchSize;
use crate::publish::Publisher;
use crate::store::{Heartbeat, Holdings, Lease, RelayStore, StoreError};

/// The extent of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    OneBatch,
    UntilEmpty,
}

/// The result of a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassReport {
    /// The number of shards that the pass could take; other relays may hold the others.
    pub shards: usize,
    /// The outcomes of the events.
    pub tally: Tally,
    /// The time until the next held event is due, as far as the pass has seen.
    pub next_due: Option<Duration>,
    /// True if a destination is unavailable; its remaining events wait for the next pass.
    pub is_broker_away: bool,
}

pub(super) async fn run<S: RelayStore, P: Publisher>(
    shared: Arc<Shared<S, P>>,
    extent: Extent,
) -> Result<PassReport, RelayError> {
    shared.check_names()?;
    shared.check_destinations()?;
    shared.check_kinds()?;
    shared.prepare_publisher()?;
    shared.check_lanes(&shared.open().await?)?;
    let asked = Instant::now();
    let holdings = beat(&shared).await?;
    let deadline = asked + shared.settings.lease;
    let report = tokio::select! {
        report = work(&shared, &holdings.leases, deadline, extent) => report,
        error = keep_alive(&shared) => Err(error),
    };
    let released = shared.store.release(shared.id).await;
    let report = report?;
    released?;
    if let Some(prune) = shared.settings.prune() {
        let pruned = shared.store.prune(prune).await?;
        telemetry::count(telemetry::PRUNED_EVENTS, pruned.unwrap_or_default());
    }
    Ok(report)
}

/// Renews the leases until a renewal fails.
async fn keep_alive<S: RelayStore, P: Publisher>(shared: &Shared<S, P>) -> StoreError {
    let every = shared.settings.heartbeat();
    let mut ticks = interval_at(Instant::now() + every, every);
    loop {
        ticks.tick().await;
        if let Err(error) = beat(shared).await {
            return error;
        }
    }
}

async fn beat<S: RelayStore, P: Publisher>(shared: &Shared<S, P>) -> Result<Holdings, StoreError> {
    let Shared {
        store,
        settings,
        id,
        clock,
        ..
    } = shared;
    let (ttl, lanes) = (settings.lease, settings.lanes.clone());
    let asked = Instant::now();
    let holdings = store
        .heartbeat(Heartbeat {
            relay: *id,
            ttl,
            lanes,
            claim: true,
            publishes: !shared.publisher.has_only_handlers(),
            handlers: shared.roster.served(),
            idle: Vec::new(),
        })
        .await?;
    clock.set(asked, holdings.now);
    shared.roster.learn(&holdings.handlers);
    Ok(holdings)
}

async fn work<S: RelayStore, P: Publisher>(
    shared: &Arc<Shared<S, P>>,
    leases: &[Lease],
    deadline: Instant,
    extent: Extent,
) -> Result<PassReport, StoreError> {
    let mut report = PassReport {
        shards: leases.len(),
        ..PassReport::default()
    };
    let mut ready: Vec<Lease> = leases.to_vec();
    // The other shards are emptied even after an error.
    let mut failed = None;
    loop {
        ready = with_work(shared, ready).await?;
        report.is_broker_away |= !shared.breakers.open().is_empty();
        if ready.is_empty() {
            return failed.map_or(Ok(report), Err);
        }
        let mut is_all_away = false;
        let ends =
            stream::iter(ready.clone()).map(|lease| one_shard(shared, lease, deadline, extent));
        let mut ends = ends.buffer_unordered(shared.settings.workers);
        while let Some((lease, tally, end)) = ends.next().await {
            report.tally += tally;
            match end {
                End::Failed(error) if error.is_of_one_shard() => {
                    ready.retain(|ready| *ready != lease);
                    failed.get_or_insert(error);
                }
                End::Failed(error) => return Err(error),
                End::Idle {
                    next_due: Some(due),
                } => {
                    report.next_due = Some(report.next_due.map_or(due, |known| known.min(due)));
                }
                End::Lost => ready.retain(|ready| *ready != lease),
                End::Paused { .. } => is_all_away = true,
                End::Idle { .. } | End::Turn | End::Stopped => {}
            }
        }
        if extent == Extent::OneBatch || is_all_away {
            report.is_broker_away |= !shared.breakers.open().is_empty();
            return failed.map_or(Ok(report), Err);
        }
    }
}

async fn with_work<S: RelayStore, P: Publisher>(
    shared: &Shared<S, P>,
    mut leases: Vec<Lease>,
) -> Result<Vec<Lease>, StoreError> {
    if leases.is_empty() {
        return Ok(leases);
    }
    let shards: Vec<_> = leases.iter().map(|lease| lease.shard).collect();
    let ready = shared
        .store
        .poll(&shards, &shared.without(Instant::now()))
        .await?;
    leases.retain(|lease| ready.contains(&lease.shard));
    Ok(leases)
}

async fn one_shard<S: RelayStore, P: Publisher>(
    shared: &Arc<Shared<S, P>>,
    lease: Lease,
    deadline: Instant,
    extent: Extent,
) -> (Lease, Tally, End) {
    let (_running, stop) = watch::channel(false);
    let mut machine = shared.machine(lease.shard);
    if extent == Extent::OneBatch {
        // A pass has no second batch to grow to.
        machine.batch_size = BatchSize::from(shared.settings.batch);
    }
    let mut worker = Worker {
        shared: Arc::clone(shared),
        lease,
        deadline: Deadline::at(deadline),
        machine,
        stop,
        make_room: Arc::default(),
        is_patient: false,
        // A pass waits for every answer, because no later batch would take it.
        patience: None,
        heard: Vec::new(),
        late: InFlight::default(),
        tally: Tally::default(),
        has_tried: false,
    };
    let turn = if extent == Extent::OneBatch {
        Duration::ZERO
    } else {
        Duration::MAX
    };
    let end = worker.run(turn).await;
    (lease, worker.tally, end)
}
