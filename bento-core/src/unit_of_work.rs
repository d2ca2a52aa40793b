//! The scope that gathers raised events until a transaction commits or rolls back.
//!
//! One unit of work belongs to one physical transaction. It holds a stack of frames: the
//! transaction is the lowest one, each savepoint another. The rules, each a test:
//!
//! 1. An event raised in the scope belongs to the top frame.
//! 2. Merging a frame (commit of a savepoint) moves its events down; discarding it (rollback, drop)
//!    loses them, however the savepoint was begun.
//! 3. A collected list is shared with its aggregate: committing empties it, discarding gives back
//!    what was taken from it, in order. What the aggregate adds while a savepoint is open belongs
//!    to the savepoint, and what a discarded savepoint gives back stays with the aggregate until
//!    it is collected again.
//! 4. Only the top frame may be collected into, flushed, merged or discarded; below an open child
//!    each of them is refused.
//! 5. A failed statement makes the events raised before it in the top frame doubtful; a doubtful
//!    frame is not merged or flushed until its owner says what to do with them. Discarding a
//!    savepoint settles the failures in it, unless a library opened it for one operation: then the
//!    frame below has the failed statement.
//! 6. Events are written in the order in which they were raised, however they were collected.
//! 7. An aggregate with a version, and one whose key the database has yet to generate, keeps its
//!    events until it is saved; a save numbers them. Discarding the frame of a save takes the
//!    numbers and the version back.
//! 8. Once the lowest frame is sealed for its commit, nothing is raised into it any more.
//!
//! Nothing here touches a database: the caller writes what [`UnitOfWork::flush`] returns.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::integration;
use crate::metadata::Metadata;
use crate::outbox::{ClockOffset, Sharding};
use crate::pending::{Content, PendingEvents, RaisedEvent, Stream};
use crate::telemetry;

mod content;
mod error;
mod flush;
mod frame;
mod lanes;
mod raising;

pub use self::error::{FlushError, FrameError, RaiseError, TenantOfAggregate};
pub use self::flush::Flush;
pub(crate) use self::flush::Numbers;
use self::frame::Frame;
pub use self::frame::Opener;
pub(crate) use self::frame::Saved;
pub use self::raising::{ReturnedEvents, raise, raise_with};

/// The identity of a frame within its unit of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameId(pub(crate) u64);

/// Gathers the events of one physical transaction. Cheap to clone; clones are the same unit of
/// work.
///
/// An application uses it through the transaction of `bento-seaorm`. An adapter for another way of
/// storing drives it like this:
///
/// ```
/// use bento_core::outbox::Sharding;
/// use bento_core::unit_of_work::UnitOfWork;
/// # use bento_core::{PendingEvents, aggregate, domain_event};
/// # #[domain_event(schema = "order.paid", version = 1)]
/// # #[derive(Clone, Debug)]
/// # pub struct OrderPaid { pub order_id: u32 }
/// # #[aggregate(events(OrderPaid))]
/// # pub struct Order { id: u32, events: PendingEvents }
///
/// // BEGIN
/// let (unit_of_work, transaction) = UnitOfWork::open();
/// let mut order = Order { id: 7, events: PendingEvents::default() };
/// unit_of_work.scope_sync(|| order.raise(OrderPaid { order_id: 7 }));
///
/// let flush = unit_of_work.flush(transaction, &Sharding::default())?;
/// assert_eq!(flush.entries[0].envelope.event_type, "order.paid");
/// // INSERT the entries
/// flush.done();
///
/// assert!(unit_of_work.seal(transaction)?, "everything is flushed");
/// // COMMIT
/// unit_of_work.committed();
/// # Ok::<_, bento_core::Report>(())
/// ```
#[derive(Clone, Debug)]
pub struct UnitOfWork(Arc<Mutex<State>>);

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) frames: Vec<Frame>,
    next: u64,
    tenant_id: Option<String>,
    owner: Option<u64>,
    clock: ClockOffset,
    sealed: bool,
}

tokio::task_local! {
    static AMBIENT: UnitOfWork;
}

impl UnitOfWork {
    /// Opens a unit of work with its lowest frame, bound to the tenant of the ambient metadata if
    /// there is one.
    pub fn open() -> (Self, FrameId) {
        let state = State {
            frames: vec![Frame::new(FrameId(0), Opener::Caller)],
            next: 1,
            tenant_id: Metadata::current().tenant_id.clone(),
            owner: None,
            clock: ClockOffset::default(),
            sealed: false,
        };
        (Self(Arc::new(Mutex::new(state))), FrameId(0))
    }

    /// The open unit of work whose scope the caller runs in.
    ///
    /// A spawned task does not see the scope; carry this handle there and use
    /// [`scope`](Self::scope).
    pub fn current() -> Option<Self> {
        // A flush that makes an integration event holds the unit of work.
        if integration::is_mapping() {
            return None;
        }
        AMBIENT.try_with(Clone::clone).ok().filter(Self::is_open)
    }

    /// Runs `future` in the scope of this unit of work: what it raises is gathered here.
    ///
    /// # Cancel safety
    /// It is as cancel safe as `future`. What was raised until then stays in the unit of work.
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        AMBIENT.scope(self.clone(), future)
    }

    /// Runs `work` in the scope of this unit of work.
    pub fn scope_sync<R>(&self, work: impl FnOnce() -> R) -> R {
        AMBIENT.sync_scope(self.clone(), work)
    }

    /// Binds the unit of work to a tenant: an event of another tenant is refused at flush, one
    /// without a tenant gets this one.
    ///
    /// # Errors
    /// [`FrameError::OtherTenant`] if the unit of work is bound to another tenant already.
    pub fn bind_tenant(&self, tenant_id: impl Into<String>) -> Result<(), FrameError> {
        let (mut state, wanted) = (self.state(), tenant_id.into());
        match &state.tenant_id {
            Some(bound) if *bound != wanted => Err(FrameError::OtherTenant {
                bound: bound.clone(),
                wanted,
            }),
            _ => {
                state.tenant_id = Some(wanted);
                Ok(())
            }
        }
    }

    /// Notes the owner, as a number that the owner recognises.
    pub fn set_owner(&self, owner: u64) {
        self.state().owner = Some(owner);
    }

    /// The owner, if one was noted.
    pub fn owner(&self) -> Option<u64> {
        self.state().owner
    }

    /// Notes the difference between the clock of the database and that of this process: from then
    /// on [`flush`](Self::flush) writes the times at which events were raised by the clock of the
    /// database.
    pub fn set_clock(&self, clock: ClockOffset) {
        self.state().clock = clock;
    }

    /// True if the transaction is still open for events.
    pub fn is_open(&self) -> bool {
        self.state().is_open()
    }

    /// True if `frame` has not ended.
    pub fn contains(&self, frame: FrameId) -> bool {
        self.state().contains(frame)
    }

    /// True if any frame has events that are not flushed.
    pub fn has_unflushed(&self) -> bool {
        self.state().frames.iter().any(Frame::has_unflushed)
    }

    /// True if any frame has events, flushed or not.
    pub fn has_events(&self) -> bool {
        self.state().frames.iter().any(Frame::has_events)
    }

    /// Opens a frame on top, for a savepoint that was begun on `parent` or on a frame above it.
    ///
    /// # Errors
    /// [`FrameError::Ended`] if `parent` has ended.
    pub fn push_frame(&self, parent: FrameId, opener: Opener) -> Result<FrameId, FrameError> {
        let mut state = self.state();
        if state.sealed || !state.contains(parent) {
            return Err(FrameError::Ended);
        }
        let id = FrameId(state.next);
        state.next += 1;
        let above = state
            .frames
            .last_mut()
            .ok_or(FrameError::Ended)?
            .open_above(id, opener);
        state.frames.push(above);
        Ok(id)
    }

    /// Shares the aggregate's pending events with `frame`, also those that it raises outside any
    /// scope before the flush.
    ///
    /// # Errors
    /// [`FrameError`] if the frame has an open child or has ended.
    pub fn collect(&self, frame: FrameId, pending: &mut PendingEvents) -> Result<(), FrameError> {
        self.state().top(frame)?.share(&pending.shared());
        Ok(())
    }

    /// Adds bytes that have no Rust type, ordered with others of the same `key` unless it is empty.
    ///
    /// # Errors
    /// [`FrameError`] if the frame has an open child or has ended.
    #[track_caller]
    pub fn enqueue(
        &self,
        frame: FrameId,
        topic: &str,
        key: &str,
        payload: Bytes,
    ) -> Result<(), FrameError> {
        let stream = if key.is_empty() {
            Stream::None
        } else {
            Stream::Key(key.to_owned())
        };
        let content = Content::Raw {
            topic: topic.to_owned(),
            payload,
        };
        let event = RaisedEvent::new(content, stream, Metadata::current());
        self.state().top(frame)?.add(event);
        Ok(())
    }

    /// Notes that a statement failed or was cancelled: events raised before it in the top frame are
    /// doubtful.
    pub fn statement_failed(&self) {
        if let Some(top) = self.state().frames.last_mut() {
            top.statement_failed();
        }
    }

    /// Keeps the doubtful events of `frame`: they happened.
    ///
    /// # Errors
    /// [`FrameError`] if the frame has an open child or has ended.
    pub fn keep_pending(&self, frame: FrameId) -> Result<(), FrameError> {
        self.state().top(frame)?.keep();
        Ok(())
    }

    /// Drops the events of `frame` that are not flushed.
    ///
    /// # Errors
    /// [`FrameError`] if the frame has an open child, has ended, or its events are in the outbox
    /// already: then only a rollback takes them back.
    pub fn discard_pending(&self, frame: FrameId) -> Result<(), FrameError> {
        self.state().top(frame)?.discard_unflushed()
    }

    /// Serialises the unflushed events of `frame` and of the frames below it, in the order in which
    /// they were raised. Events of a frame below are unflushed again if this frame is discarded.
    ///
    /// [`Flush::done`] marks them as flushed. A flush without it may be written all the same, for
    /// example if its answer was lost, so a later flush counts its events as perhaps known.
    ///
    /// # Errors
    /// [`FlushError`]; nothing is lost, the events stay where they are.
    pub fn flush(&self, frame: FrameId, sharding: &Sharding) -> Result<Flush, FlushError> {
        let mut state = self.state();
        state.flushable(frame)?;
        let flush = flush::serialise(self.clone(), &state, frame, sharding, None)?;
        state.frames.iter_mut().for_each(Frame::mark_offered);
        Ok(flush)
    }

    /// Serialises the events of a save.
    pub(crate) fn flush_saved(
        &self,
        frame: FrameId,
        sharding: &Sharding,
        numbers: Numbers<'_>,
    ) -> Result<Flush, FlushError> {
        let mut state = self.state();
        state.flushable(frame)?;
        flush::serialise(self.clone(), &state, frame, sharding, Some(numbers))
    }

    /// Ends the top frame after its savepoint was released: its events belong to the frame below.
    ///
    /// # Errors
    /// [`FrameError`] if the frame has an open child, has ended, is the lowest, or is doubtful.
    pub fn merge(&self, frame: FrameId) -> Result<(), FrameError> {
        let mut state = self.state();
        state.top(frame)?.decided()?;
        if state.frames.len() == 1 {
            return Err(FrameError::Ended);
        }
        let ended = state.frames.pop().expect("the top frame is there");
        let below = state.frames.last_mut().expect("there is a frame below");
        let below_id = below.id;
        below.absorb(ended);
        state
            .frames
            .iter_mut()
            .for_each(|lower| lower.rewrite(frame, below_id));
        Ok(())
    }

    /// Checks that [`merge`](Self::merge) or a commit would be accepted now.
    ///
    /// # Errors
    /// The error that it would return.
    pub fn check_mergeable(&self, frame: FrameId) -> Result<(), FrameError> {
        self.state().top(frame)?.decided()
    }

    /// Checks that [`flush`](Self::flush) would be accepted now, as far as the frames decide.
    ///
    /// # Errors
    /// The error that it would return.
    pub fn check_flushable(&self, frame: FrameId) -> Result<(), FrameError> {
        self.state().flushable(frame)
    }

    /// Closes the lowest frame for its commit: from here on `raise` finds no scope. Returns
    /// `false`, and leaves the frame open, if it has unflushed events, which must be written first.
    ///
    /// # Errors
    /// [`FrameError`] if the frame has an open child, has ended, or is doubtful.
    pub fn seal(&self, frame: FrameId) -> Result<bool, FrameError> {
        let mut state = self.state();
        state.top(frame)?.decided()?;
        state.sealed = !state.frames.iter().any(Frame::has_unflushed);
        Ok(state.sealed)
    }

    /// Ends the sealed lowest frame after the commit: its events are in the outbox for good.
    pub fn committed(&self) {
        let mut state = self.state();
        debug_assert!(
            state.sealed,
            "seal before the commit: an event raised meanwhile would be lost"
        );
        let ended = std::mem::take(&mut state.frames);
        let tenant_id = state.tenant_id.clone();
        drop(state);
        let mut events = 0;
        for frame in &ended {
            frame.for_each_new(&mut |event| {
                event.log_flushed(tenant_id.as_deref());
                let made = event
                    .event()
                    .map(|event| integration::count_flushed(&**event));
                events += 1 + made.unwrap_or(0);
            });
        }
        telemetry::count(telemetry::FLUSHED_EVENTS, events);
    }

    /// Ends `frame` and every frame above it without a trace: collected events go back to their
    /// aggregates. Returns `false` if the frame had ended before.
    pub fn discard(&self, frame: FrameId) -> bool {
        let mut state = self.state();
        let Some(index) = state
            .frames
            .iter()
            .position(|candidate| candidate.id == frame)
        else {
            return false;
        };
        let ended = state.frames.split_off(index);
        for lower in &mut state.frames {
            ended.iter().for_each(|frame| lower.unwrite(frame.id));
            ended.iter().for_each(|frame| lower.unnumber(frame.id));
        }
        let failed = ended.iter().rev().fold(false, |from_above, frame| {
            frame.hands_down_failure(from_above)
        });
        // The innermost first: what the outermost save found in the database is what is there
        // again.
        ended.into_iter().rev().for_each(Frame::discarded);
        if let Some(below) = state.frames.last_mut() {
            below.uncover();
            if failed {
                below.statement_failed();
            }
        }
        true
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_open(&self) -> bool {
        !self.sealed && !self.frames.is_empty()
    }

    fn contains(&self, frame: FrameId) -> bool {
        self.frames.iter().any(|candidate| candidate.id == frame)
    }

    fn flushable(&mut self, frame: FrameId) -> Result<(), FrameError> {
        self.top(frame)?;
        self.frames.iter().try_for_each(Frame::decided)
    }

    fn open_top(&mut self) -> Option<&mut Frame> {
        if self.sealed {
            None
        } else {
            self.frames.last_mut()
        }
    }

    pub(crate) fn top(&mut self, frame: FrameId) -> Result<&mut Frame, FrameError> {
        match self
            .frames
            .iter()
            .rposition(|candidate| candidate.id == frame)
        {
            Some(_) if self.sealed => Err(FrameError::Ended),
            Some(index) if index + 1 == self.frames.len() => Ok(&mut self.frames[index]),
            Some(_) => Err(FrameError::ChildOpen),
            None => Err(FrameError::Ended),
        }
    }
}

#[cfg(test)]
mod tests;
