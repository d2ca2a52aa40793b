//! Raising of events: into the transaction whose scope the caller runs in.

use std::sync::Arc;

use super::{RaiseError, UnitOfWork};
use crate::event::Raisable;
use crate::metadata::Metadata;
use crate::pending::{Content, PendingEvents, RaisedEvent, Stream};

/// Raises an event that belongs to no aggregate. It has no order relative to other events.
///
/// # Errors
/// [`RaiseError::NoScope`] outside the scope of a transaction, where no commit would write it.
#[track_caller]
pub fn raise<E: Raisable>(event: E) -> Result<(), RaiseError> {
    raise_with(event, |metadata| metadata)
}

/// Raises an event that belongs to no aggregate, with metadata of its own: `adjust` gets the
/// metadata of the scope around the caller.
///
/// # Errors
/// [`RaiseError::NoScope`] outside the scope of a transaction, where no commit would write it.
#[track_caller]
pub fn raise_with<E: Raisable>(
    event: E,
    adjust: impl FnOnce(Metadata) -> Metadata,
) -> Result<(), RaiseError> {
    let unit_of_work = UnitOfWork::current().ok_or(RaiseError::NoScope {
        event_type: E::SCHEMA,
    })?;
    let event = RaisedEvent::new(
        Content::Typed(Arc::new(event)),
        Stream::None,
        Metadata::current_with(adjust),
    );
    unit_of_work.raise(event).map_or(Ok(()), |_| {
        Err(RaiseError::NoScope {
            event_type: E::SCHEMA,
        })
    })
}

/// The events that a function returns, to be raised in the transaction whose scope it ran in.
///
/// Implemented for `()`, an event, and an `Option`, `Vec` or array of events of one type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned by a handler",
    label = "neither `()` nor events",
    note = "a handler returns `Result<(), HandleError>`, or the events that it raises: \
            `Result<E, _>`, `Result<Option<E>, _>`, `Result<Vec<E>, _>` with an event `E`"
)]
pub trait ReturnedEvents {
    /// True for a type that holds events.
    const ARE_EVENTS: bool;

    /// Raises each event.
    ///
    /// # Errors
    /// [`RaiseError::NoScope`] outside the scope of a transaction.
    #[track_caller]
    fn raise_all(self) -> Result<(), RaiseError>;
}

impl ReturnedEvents for () {
    const ARE_EVENTS: bool = false;

    #[track_caller]
    fn raise_all(self) -> Result<(), RaiseError> {
        Ok(())
    }
}

#[diagnostic::do_not_recommend]
impl<E: Raisable> ReturnedEvents for E {
    const ARE_EVENTS: bool = true;

    #[track_caller]
    fn raise_all(self) -> Result<(), RaiseError> {
        raise(self)
    }
}

impl<E: Raisable> ReturnedEvents for Option<E> {
    const ARE_EVENTS: bool = true;

    #[track_caller]
    fn raise_all(self) -> Result<(), RaiseError> {
        match self {
            Some(event) => raise(event),
            None => Ok(()),
        }
    }
}

impl<E: Raisable> ReturnedEvents for Vec<E> {
    const ARE_EVENTS: bool = true;

    #[track_caller]
    fn raise_all(self) -> Result<(), RaiseError> {
        for event in self {
            raise(event)?;
        }
        Ok(())
    }
}

impl<E: Raisable, const N: usize> ReturnedEvents for [E; N] {
    const ARE_EVENTS: bool = true;

    #[track_caller]
    fn raise_all(self) -> Result<(), RaiseError> {
        for event in self {
            raise(event)?;
        }
        Ok(())
    }
}

impl UnitOfWork {
    /// Raises an event, or returns it if the transaction has ended.
    #[must_use = "the event was not raised if it comes back"]
    pub(crate) fn raise(&self, event: RaisedEvent) -> Option<RaisedEvent> {
        match self.state().open_top() {
            Some(top) => top.add(event),
            None => return Some(event),
        }
        None
    }

    /// Raises an aggregate's event together with what the aggregate had pending before, or returns
    /// it if the transaction has ended.
    #[must_use = "the event was not raised if it comes back"]
    pub(crate) fn raise_after(
        &self,
        pending: &PendingEvents,
        event: RaisedEvent,
    ) -> Option<RaisedEvent> {
        let mut state = self.state();
        let Some(top) = state.open_top() else {
            return Some(event);
        };
        if let Some(list) = pending.list() {
            top.take_from(list);
        }
        top.add(event);
        None
    }

    /// Raises an event that waits with its aggregate for a save, or returns it if the transaction
    /// has ended.
    #[must_use = "the event was not raised if it comes back"]
    pub(crate) fn raise_at_home(
        &self,
        pending: &mut PendingEvents,
        event: RaisedEvent,
    ) -> Option<RaisedEvent> {
        let mut state = self.state();
        let Some(top) = state.open_top() else {
            return Some(event);
        };
        let list = pending.shared();
        list.lock().push(event);
        top.share(&list);
        None
    }
}
