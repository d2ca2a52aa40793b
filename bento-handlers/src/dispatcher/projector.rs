//! Projections: events of a relay ([`live`]), and those of the event store while a version is built
//! ([`build`]), both by the same transaction ([`apply`]).

mod apply;
mod build;
mod faults;
mod live;
mod retiring;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bento_relay::event_store::Selection;
use bento_relay::publish::{Delivery, HandlerRoute, StartFrom};
use bento_relay::route::covers;
use bento_seaorm::{Error, OutboxTransaction, ProjectionKey, ProjectionStatus};

pub(super) use self::build::Builds;
use super::{Dispatcher, undone};
use crate::error::HandleError;
use crate::projection::ProjectionDescriptor;
use crate::projection_settings::ProjectionSettings;

/// The most events of one transaction.
const MOST: usize = 1_000;

/// The divisor of a part that did not end in time: with three parts a call is at the event that
/// hangs, for which it has time left then.
const FEWER: usize = 32;

/// The number of events in the transactions of the next call: fewer after one that did not end in
/// time, until others have.
#[derive(Debug)]
pub(crate) struct Pace(AtomicUsize);

impl Default for Pace {
    fn default() -> Self {
        Self(AtomicUsize::new(MOST))
    }
}

impl Pace {
    fn size(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes a part of this many events that did not end in time. Returns the size of the next one.
    fn too_long(&self, events: usize) -> usize {
        let fewer = (events / FEWER).max(1);
        self.0.store(fewer, Ordering::Relaxed);
        fewer
    }

    /// Notes a part of this many events that has ended in time.
    fn done(&self, events: usize) {
        let more = events.saturating_mul(2).min(MOST);
        self.0.fetch_max(more, Ordering::Relaxed);
    }
}

/// A projection of a process, with the settings that it runs with.
pub(crate) struct Projected {
    pub(crate) descriptor: &'static ProjectionDescriptor,
    pub(crate) key: ProjectionKey,
    pub(crate) settings: ProjectionSettings,
    /// The value whose `project` is called.
    pub(crate) projection: Arc<dyn Any + Send + Sync>,
    pub(crate) pace: Pace,
}

impl std::fmt::Debug for Projected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Projected")
            .field("key", &self.key)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Projected {
    /// The route that a relay records: a new version gets all events that are still pending.
    pub(crate) fn handler_route(&self) -> HandlerRoute {
        HandlerRoute::new(self.key.route(), self.descriptor.takes()).from(StartFrom::Beginning)
    }

    /// True if the projection takes events of this type.
    fn takes(&self, event_type: &str) -> bool {
        self.descriptor
            .takes()
            .any(|pattern| pattern == event_type || covers(pattern, event_type))
    }

    /// The event types that it takes; `None` if it takes patterns of them.
    fn types(&self) -> Option<Vec<String>> {
        let all = self.descriptor.takes().map(str::to_owned);
        let has_patterns = !self.descriptor.patterns.is_empty();
        (!has_patterns).then(|| all.collect())
    }

    /// The stored events that the build reads.
    fn selection(&self) -> Selection {
        match (self.descriptor.events, self.descriptor.patterns) {
            ([event], []) => Selection::EventType(event.schema.to_owned()),
            _ => Selection::All,
        }
    }

    /// The status of a version that is recorded for the first time.
    fn first_status(&self) -> ProjectionStatus {
        match self.settings.automatic {
            true => ProjectionStatus::Building,
            false => ProjectionStatus::Waiting,
        }
    }
}

impl Dispatcher {
    /// The projection that takes a batch, if one does.
    pub(super) fn projection_of(&self, batch: &[Delivery]) -> Option<&Arc<Projected>> {
        let name = &batch.first()?.destination.name;
        self.shared.projections.get(&**name)
    }

    /// Begins the transaction of a batch.
    async fn begin_projecting(&self) -> Result<OutboxTransaction, HandleError> {
        let idle = self.shared.limits.idle(None);
        let begun = self.shared.db.begin_handling(idle).await;
        begun.map_err(|error| self.own(error))
    }

    /// The error of a statement of the dispatcher's own. It does not count as a failure if another
    /// transaction was in the way, or the database is away.
    fn own(&self, error: Error) -> HandleError {
        let is_of_the_database = self.shared.db.is_of_the_database(&error);
        let error = HandleError::from(error);
        if is_of_the_database {
            error.not_tried()
        } else {
            error
        }
    }
}

/// Rolls back after an error of the projection, which does not count as a failure if another
/// transaction was in the way, or the database is away.
async fn rolled_back(tx: OutboxTransaction, error: HandleError) -> HandleError {
    let was_lost = tx.was_lost();
    let error = undone(tx, error).await;
    if was_lost { error.not_tried() } else { error }
}

/// The error of a statement of the swap, which says nothing of an event.
fn of_the_swap(error: Error) -> HandleError {
    HandleError::from(error).not_tried()
}
