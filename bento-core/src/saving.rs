//! Saving an aggregate: its events are collected, get the key that the database generated, and are
//! numbered by its version.

use std::sync::Arc;

use crate::aggregate::Aggregate;
use crate::outbox::Sharding;
use crate::pending::{Numbering, Ordinal, PendingList, RaisedEvent, Stream};
use crate::unit_of_work::{
    Flush, FlushError, FrameError, FrameId, Numbers, Saved, State, UnitOfWork,
};

/// An aggregate that is being saved: its row is to be written now, and [`done`](Self::done) is to
/// be called after that.
///
/// From here on its pending events are collected. [`failed`](Self::failed) leaves them with the
/// aggregate as they were. Dropping it instead, because the statement was cancelled, counts as a
/// failed statement: the row may be written, so the events are doubtful.
///
/// ```
/// use bento_core::unit_of_work::UnitOfWork;
/// # use bento_core::{PendingEvents, aggregate, domain_event};
/// # #[domain_event(schema = "order.paid", version = 1)]
/// # #[derive(Clone, Debug)]
/// # pub struct OrderPaid { pub order_id: u32 }
/// #[aggregate(events(OrderPaid))]
/// struct Order {
///     id: u32,
///     #[aggregate(version)]
///     version: i64,
///     events: PendingEvents,
/// }
///
/// let (unit_of_work, transaction) = UnitOfWork::open();
/// let mut order = Order { id: 7, version: 0, events: PendingEvents::default() };
/// order.raise(OrderPaid { order_id: 7 });
///
/// let saving = unit_of_work.save(transaction, &mut order)?;
/// assert_eq!((saving.version_before(), saving.version_after()), (Some(0), Some(1)));
/// // UPDATE … SET version = 1 WHERE id = 7 AND version = 0
/// saving.done(&mut order)?;
/// assert_eq!(order.version, 1);
/// # unit_of_work.discard(transaction);
/// # Ok::<_, bento_core::Report>(())
/// ```
#[derive(Debug)]
#[must_use = "write the row, then call `done` or `failed`"]
pub struct Saving {
    unit_of_work: UnitOfWork,
    frame: FrameId,
    list: Arc<PendingList>,
    /// The ordinal since which the frame had collected the list before.
    shared_since: Option<Ordinal>,
    /// The events that get their numbers by this save, in their order.
    waiting: Vec<Ordinal>,
    versions: Option<Versions>,
    /// The key of an event-sourced aggregate.
    key: Option<String>,
    is_over: bool,
}

#[derive(Clone, Copy, Debug)]
struct Versions {
    before: i64,
    after: i64,
}

/// An aggregate cannot be saved now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SavingError {
    /// The transaction may not do this now.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The field cannot hold the version that comes next.
    #[error(
        "the version of `{aggregate_type}` would be {version}, which its field cannot hold; use a \
         larger integer"
    )]
    VersionTooLarge {
        /// The type of the aggregate.
        aggregate_type: &'static str,
        /// The version that comes next.
        version: i64,
    },
}

impl UnitOfWork {
    /// Collects an aggregate whose row is written next, into the top frame.
    ///
    /// With a version, the row gets [`Saving::version_after`]: the version before and the number of
    /// the events that were not saved before, at least 1. The version of an event-sourced aggregate
    /// rises by its events alone.
    ///
    /// # Errors
    /// [`SavingError`]; nothing has changed.
    pub fn save<A: Aggregate>(
        &self,
        frame: FrameId,
        aggregate: &mut A,
    ) -> Result<Saving, SavingError> {
        let list = aggregate.pending_events_mut().shared();
        let mut state = self.state();
        let shared_since = state.top(frame)?.share(&list);
        let waiting = waiting(&mut state, &list);
        drop(state);
        let least = i64::from(!A::IS_EVENT_SOURCED);
        let step = least.max(waiting.len() as i64);
        let before = aggregate
            .version()
            .map(|version| list.stored_version().unwrap_or(version));
        let versions = before.map(|before| Versions {
            before,
            after: before.saturating_add(step),
        });
        let saving = Saving {
            unit_of_work: self.clone(),
            frame,
            list,
            shared_since,
            waiting,
            versions,
            key: A::IS_EVENT_SOURCED
                .then(|| aggregate.aggregate_key().into_text())
                .flatten(),
            is_over: false,
        };
        match versions {
            Some(Versions { before, after })
                if before.checked_add(step).is_none() || !can_hold(aggregate, after) =>
            {
                saving.failed();
                Err(SavingError::VersionTooLarge {
                    aggregate_type: A::TYPE,
                    version: after,
                })
            }
            _ => Ok(saving),
        }
    }
}

/// True if the version field can hold this version. The aggregate is as it was.
fn can_hold<A: Aggregate>(aggregate: &mut A, version: i64) -> bool {
    let now = aggregate.version();
    let is_held = aggregate.set_version(version);
    if let Some(now) = now.filter(|_| is_held) {
        aggregate.set_version(now);
    }
    is_held
}

impl Saving {
    /// The version in the database; `None` for an aggregate without a version. After a rollback it
    /// differs from that of the aggregate in memory.
    pub fn version_before(&self) -> Option<i64> {
        self.versions.map(|versions| versions.before)
    }

    /// The version to write; `None` for an aggregate without a version.
    pub fn version_after(&self) -> Option<i64> {
        self.versions.map(|versions| versions.after)
    }

    /// The number of the events that are saved with it.
    pub fn events(&self) -> usize {
        self.waiting.len()
    }

    /// Serialises the events that are saved with it, numbered from
    /// [`version_before`](Self::version_before), without those that wait for another save or for
    /// the commit. They are to be written now; then call [`done`](Self::done), and after that
    /// [`Flush::done`].
    ///
    /// # Errors
    /// [`FlushError`]; nothing is lost, the events stay where they are.
    pub fn flush(&self, sharding: &Sharding) -> Result<Flush, FlushError> {
        let before = self.versions.map_or(0, |versions| versions.before);
        self.unit_of_work.flush_saved(
            self.frame,
            sharding,
            Numbers {
                of: &self.waiting,
                before,
                key: self.key.as_deref(),
            },
        )
    }

    /// Notes that the row is written: the aggregate gets its version, its events their numbers, and
    /// the key if they had none.
    ///
    /// # Errors
    /// [`SavingError`]: a nested transaction was begun meanwhile, or the transaction has ended. The
    /// row is written and its events are doubtful.
    pub fn done<A: Aggregate>(mut self, aggregate: &mut A) -> Result<(), SavingError> {
        if let Some(Versions { after, .. }) = self.versions
            && !aggregate.set_version(after)
        {
            return Err(SavingError::VersionTooLarge {
                aggregate_type: A::TYPE,
                version: after,
            });
        }
        let key = aggregate.aggregate_key().into_text();
        let mut state = self.unit_of_work.state();
        state.top(self.frame)?;
        for frame in &mut state.frames {
            frame.for_each_collected_from(&self.list, &mut |event| {
                fill_key(event, key.as_deref());
            });
        }
        if let Some(Versions { before, .. }) = self.versions {
            let waiting = waiting(&mut state, &self.list);
            let within = self.frame.0;
            for frame in &mut state.frames {
                frame.for_each_collected_from(&self.list, &mut |event| {
                    if let Ok(index) = waiting.binary_search(&event.ordinal) {
                        event.numbering = Numbering::Given {
                            sequence: before + 1 + index as i64,
                            within,
                        };
                    }
                });
            }
            self.list.set_stored_version(None);
            state.top(self.frame)?.note_saved(Saved {
                list: Arc::clone(&self.list),
                before,
            });
        }
        drop(state);
        self.is_over = true;
        Ok(())
    }

    /// Leaves the events with the aggregate, as before the save.
    pub fn failed(mut self) {
        self.is_over = true;
        if let Ok(top) = self.unit_of_work.state().top(self.frame) {
            top.unshare(&self.list, self.shared_since);
        }
    }
}

impl Drop for Saving {
    fn drop(&mut self) {
        if !self.is_over {
            self.unit_of_work.statement_failed();
        }
    }
}

/// The events of a list that wait for a number, in their order.
fn waiting(state: &mut State, list: &Arc<PendingList>) -> Vec<Ordinal> {
    let mut waiting = Vec::new();
    for frame in &mut state.frames {
        frame.for_each_collected_from(list, &mut |event| {
            waiting.extend((event.numbering == Numbering::Awaited).then_some(event.ordinal));
        });
    }
    waiting.sort_unstable();
    waiting
}

fn fill_key(event: &mut RaisedEvent, key: Option<&str>) {
    if let Stream::Aggregate {
        aggregate_id: aggregate_id @ None,
        ..
    } = &mut event.stream
    {
        *aggregate_id = key.map(str::to_owned);
    }
}
