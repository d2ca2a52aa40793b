//! The events that one transaction or savepoint holds.
//!
//! Decision: docs/decisions/0010-what-a-failed-statement-does.md

use std::sync::Arc;

use super::FrameId;
use super::error::FrameError;
use super::flush::Outcome;
use crate::pending::{Numbering, Ordinal, PendingList, RaisedEvent};

/// The opener of a savepoint, which decides how far a failure inside the savepoint reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opener {
    /// The caller, around what may fail: rolling it back settles the failure.
    Caller,
    /// A library, for one operation of the caller: the caller sees that operation fail, so rolling
    /// the savepoint back leaves a failed statement in the frame below.
    Library,
}

/// The events of one transaction or savepoint.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(super) id: FrameId,
    opener: Opener,
    held: Vec<Held>,
    /// Live in the top frame only; the frames below have moved theirs to `held`.
    shared: Vec<Shared>,
    written: Vec<Written>,
    /// Aggregates with a version that were saved here, in order.
    saved: Vec<Saved>,
    failed: bool,
    doubtful: bool,
}

/// An unflushed event and the list that it goes back to if the frame is discarded.
struct Held {
    event: RaisedEvent,
    home: Option<Arc<PendingList>>,
}

/// The list of an aggregate whose events after `since` belong to the frame: those that are pending,
/// and those that the aggregate adds before the flush.
#[derive(Clone, Debug)]
struct Shared {
    list: Arc<PendingList>,
    since: Ordinal,
}

/// An event that is in the outbox, unless the frame in which it was written is discarded: an early
/// flush in a savepoint writes the events of the frames below as well, because they come first.
#[derive(Debug)]
struct Written {
    held: Held,
    within: FrameId,
    /// True if the flush wrote the event; an event whose id was known already is in the outbox too.
    is_new: bool,
}

/// An aggregate with a version was saved in a frame.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) list: Arc<PendingList>,
    /// The version that the database had.
    pub(crate) before: i64,
}

impl Saved {
    /// Notes that the database has its earlier version again.
    fn undo(self) {
        self.list.set_stored_version(Some(self.before));
    }
}

impl Frame {
    pub(super) fn new(id: FrameId, opener: Opener) -> Self {
        let (held, shared, written, saved) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self {
            id,
            opener,
            held,
            shared,
            written,
            saved,
            failed: false,
            doubtful: false,
        }
    }

    pub(super) fn add(&mut self, event: RaisedEvent) {
        self.held.push(Held { event, home: None });
    }

    /// Counts the pending events of an aggregate as held, and those that it adds before the flush.
    /// Returns the ordinal since which the frame counted them already, if it did.
    pub(crate) fn share(&mut self, list: &Arc<PendingList>) -> Option<Ordinal> {
        list.mark_seen();
        if let Some(known) = self
            .shared
            .iter_mut()
            .find(|known| Arc::ptr_eq(&known.list, list))
        {
            return Some(std::mem::replace(&mut known.since, Ordinal::FIRST));
        }
        self.shared.push(Shared {
            list: Arc::clone(list),
            since: Ordinal::FIRST,
        });
        None
    }

    /// Undoes a [`share`](Self::share), which returned `before`. A statement that failed meanwhile
    /// makes no other event doubtful.
    pub(crate) fn unshare(&mut self, list: &Arc<PendingList>, before: Option<Ordinal>) {
        match before {
            None => self.shared.retain(|known| !Arc::ptr_eq(&known.list, list)),
            Some(since) => {
                let known = self
                    .shared
                    .iter_mut()
                    .filter(|known| Arc::ptr_eq(&known.list, list));
                known.for_each(|known| known.since = since);
            }
        }
        self.doubtful &= self.has_events();
    }

    /// Notes that an aggregate was saved here.
    pub(crate) fn note_saved(&mut self, saved: Saved) {
        self.saved.push(saved);
    }

    /// Visits the unflushed events that were collected from this list.
    pub(crate) fn for_each_collected_from(
        &mut self,
        list: &Arc<PendingList>,
        visit: &mut impl FnMut(&mut RaisedEvent),
    ) {
        let is_from_it = |home: &Option<Arc<PendingList>>| {
            home.as_ref().is_some_and(|home| Arc::ptr_eq(home, list))
        };
        self.held
            .iter_mut()
            .filter(|held| is_from_it(&held.home))
            .for_each(|held| visit(&mut held.event));
        for shared in self
            .shared
            .iter()
            .filter(|shared| Arc::ptr_eq(&shared.list, list))
        {
            let mut events = shared.list.lock();
            events
                .iter_mut()
                .filter(|event| event.ordinal > shared.since)
                .for_each(&mut *visit);
        }
    }

    /// A frame above this one. Events that aggregates add from now on belong to the new frame, and
    /// are gone when it is discarded.
    pub(super) fn open_above(&mut self, id: FrameId, opener: Opener) -> Self {
        let mut above = Self::new(id, opener);
        for Shared { list, since } in &self.shared {
            let events: Vec<_> = list
                .lock()
                .extract_if(.., |event| event.ordinal > *since)
                .collect();
            self.held.extend(events.into_iter().map(|event| Held {
                event,
                home: Some(Arc::clone(list)),
            }));
        }
        above.shared = self.shared_from_now();
        // What comes now is not this frame's, even to a flush, which looks at every frame.
        self.shared
            .iter_mut()
            .for_each(|shared| shared.since = Ordinal::LAST);
        above
    }

    /// Goes on after the frames above were discarded: events that they gave back are not collected
    /// here.
    pub(super) fn uncover(&mut self) {
        self.shared = self.shared_from_now();
    }

    fn shared_from_now(&self) -> Vec<Shared> {
        let since = Ordinal::latest();
        self.shared
            .iter()
            .map(|Shared { list, .. }| Shared {
                list: Arc::clone(list),
                since,
            })
            .collect()
    }

    /// Moves the pending events of an aggregate here, to be given back if the frame is discarded.
    pub(super) fn take_from(&mut self, list: &Arc<PendingList>) {
        list.mark_seen();
        let events = std::mem::take(&mut *list.lock());
        self.held.extend(events.into_iter().map(|event| Held {
            event,
            home: Some(Arc::clone(list)),
        }));
    }

    pub(super) fn has_unflushed(&self) -> bool {
        !self.held.is_empty() || self.shared.iter().any(Shared::has_events)
    }

    pub(super) fn has_events(&self) -> bool {
        !self.written.is_empty() || self.has_unflushed()
    }

    pub(super) fn statement_failed(&mut self) {
        self.failed = true;
        self.doubtful |= self.has_events();
    }

    /// True if the frame below has to count a failure as its own, once this one is discarded.
    pub(super) fn hands_down_failure(&self, from_above: bool) -> bool {
        self.opener == Opener::Library && (self.failed || from_above)
    }

    pub(super) fn keep(&mut self) {
        self.doubtful = false;
    }

    /// Refuses a frame whose events are doubtful.
    pub(super) fn decided(&self) -> Result<(), FrameError> {
        if !self.doubtful {
            return Ok(());
        }
        let mut events = 0;
        let mut first: Option<RaisedEvent> = None;
        let mut note = |event: &RaisedEvent| {
            events += 1;
            if first
                .as_ref()
                .is_none_or(|first| event.ordinal < first.ordinal)
            {
                first = Some(event.clone());
            }
        };
        self.for_each_written(&mut note);
        self.for_each_unflushed(&mut note);
        first.map_or(Ok(()), |first| {
            Err(FrameError::Doubtful {
                events,
                event_type: first.event_type().into_owned(),
                raised_at: first.raised_at(),
            })
        })
    }

    pub(super) fn discard_unflushed(&mut self) -> Result<(), FrameError> {
        if !self.written.is_empty() {
            return Err(FrameError::AlreadyFlushed {
                events: self.written.len(),
            });
        }
        self.held.clear();
        self.shared
            .iter()
            .for_each(|Shared { list, since }| list.lock().retain(|event| event.ordinal <= *since));
        self.doubtful = false;
        Ok(())
    }

    /// Visits the unflushed events.
    pub(super) fn for_each_unflushed(&self, visit: &mut impl FnMut(&RaisedEvent)) {
        self.held.iter().for_each(|held| visit(&held.event));
        for Shared { list, since } in &self.shared {
            list.lock()
                .iter()
                .filter(|event| event.ordinal > *since)
                .for_each(&mut *visit);
        }
    }

    /// Visits the events that are in the outbox because they were written here.
    pub(super) fn for_each_new(&self, visit: &mut impl FnMut(&RaisedEvent)) {
        self.written
            .iter()
            .filter(|written| written.is_new)
            .for_each(|written| visit(&written.held.event));
    }

    /// Visits the events that are in the outbox.
    pub(super) fn for_each_written(&self, visit: &mut impl FnMut(&RaisedEvent)) {
        self.written
            .iter()
            .for_each(|written| visit(&written.held.event));
    }

    /// Notes that a flush has the unflushed events: if its outcome stays unclear, the next flush
    /// counts them as perhaps known.
    pub(super) fn mark_offered(&mut self) {
        self.held
            .iter_mut()
            .for_each(|held| held.event.offered = true);
        self.shared.iter().for_each(|shared| {
            shared
                .list
                .lock()
                .iter_mut()
                .for_each(|event| event.offered = true)
        });
    }

    /// Marks the events that a flush had as written within `within`.
    pub(super) fn mark_written(&mut self, outcome: &Outcome<'_>, within: FrameId) {
        let written = |held: Held| Written {
            is_new: outcome.is_new(&held.event),
            held,
            within,
        };
        self.written.extend(
            self.held
                .extract_if(.., |held| outcome.covers(&held.event))
                .map(written),
        );
        for Shared { list, since } in &self.shared {
            let mut events = list.lock();
            let covered =
                events.extract_if(.., |event| event.ordinal > *since && outcome.covers(event));
            let held = covered.map(|event| Held {
                event,
                home: Some(Arc::clone(list)),
            });
            self.written.extend(held.map(written));
        }
    }

    /// Moves what was written within `ended` to `below`: the savepoint was released.
    pub(super) fn rewrite(&mut self, ended: FrameId, below: FrameId) {
        for written in self
            .written
            .iter_mut()
            .filter(|written| written.within == ended)
        {
            written.within = below;
        }
        self.for_each_numbering(|numbering| {
            if let Numbering::Given { within, .. } = numbering
                && *within == ended.0
            {
                *within = below.0;
            }
        });
    }

    /// Marks what was written within `ended` as unflushed: the savepoint was rolled back.
    pub(super) fn unwrite(&mut self, ended: FrameId) {
        let undone = self
            .written
            .extract_if(.., |written| written.within == ended);
        self.held.extend(undone.map(|written| written.held));
    }

    /// Removes the numbers that a save within `ended` gave: the savepoint was rolled back.
    pub(super) fn unnumber(&mut self, ended: FrameId) {
        self.for_each_numbering(|numbering| {
            if matches!(numbering, Numbering::Given { within, .. } if *within == ended.0) {
                *numbering = Numbering::Awaited;
            }
        });
    }

    /// Visits the numbers of the events that were moved here. An event that is still with its
    /// aggregate belongs to the top frame alone, and loses its number with that frame.
    fn for_each_numbering(&mut self, mut visit: impl FnMut(&mut Numbering)) {
        let written = self.written.iter_mut().map(|written| &mut written.held);
        self.held
            .iter_mut()
            .chain(written)
            .for_each(|held| visit(&mut held.event.numbering));
    }

    /// Takes over the events of a released savepoint.
    pub(super) fn absorb(&mut self, child: Self) {
        self.held.extend(child.held);
        self.written.extend(child.written);
        self.saved.extend(child.saved);
        self.shared = child.shared;
    }

    /// Gives collected events back to their aggregates and drops the rest.
    pub(super) fn discarded(self) {
        for Shared { list, .. } in &self.shared {
            list.mark_seen();
            list.lock()
                .iter_mut()
                .for_each(RaisedEvent::forget_sequence);
        }
        self.saved.into_iter().rev().for_each(Saved::undo);
        let mut homes: Vec<(Arc<PendingList>, Vec<RaisedEvent>)> = Vec::new();
        let written = self.written.into_iter().map(|written| written.held);
        for Held { event, home } in written.chain(self.held) {
            let Some(home) = home else { continue };
            match homes
                .iter_mut()
                .find(|(known, _)| Arc::ptr_eq(known, &home))
            {
                Some((_, events)) => events.push(event),
                None => homes.push((home, vec![event])),
            }
        }
        homes
            .into_iter()
            .for_each(|(home, events)| home.give_back(events));
    }
}

impl Shared {
    fn has_events(&self) -> bool {
        self.list
            .lock()
            .iter()
            .any(|event| event.ordinal > self.since)
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.event.fmt(f)
    }
}
