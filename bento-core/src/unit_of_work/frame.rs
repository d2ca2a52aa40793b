//! What one transaction or savepoint holds.

use std::sync::Arc;

use super::FrameId;
use super::error::FrameError;
use crate::pending::{PendingList, RaisedEvent};

/// The events of one transaction or savepoint.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) id: FrameId,
    items: Vec<Item>,
    flushed: Vec<Written>,
    doubtful: bool,
}

/// What a frame holds unflushed.
enum Item {
    /// One event.
    One(Held),
    /// All that an aggregate has pending, and what it adds until the flush.
    Shared(Arc<PendingList>),
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::One(held) => held.event.fmt(f),
            Self::Shared(list) => write!(f, "Shared({} events)", list.lock().len()),
        }
    }
}

/// An event and the list that it goes back to if the frame is discarded.
struct Held {
    event: RaisedEvent,
    home: Option<Arc<PendingList>>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.event.fmt(f)
    }
}

/// An event that is in the outbox, unless the frame in which it was written is discarded: an early flush in a savepoint
/// writes the events of the frames below as well, because they come first.
#[derive(Debug)]
struct Written {
    held: Held,
    within: FrameId,
}

impl Frame {
    pub(super) fn new(id: FrameId) -> Self {
        Self { id, items: Vec::new(), flushed: Vec::new(), doubtful: false }
    }

    pub(super) fn add(&mut self, event: RaisedEvent, home: Option<Arc<PendingList>>) {
        self.items.push(Item::One(Held { event, home }));
    }

    pub(super) fn share(&mut self, list: Arc<PendingList>) {
        list.mark_collected();
        let known = |item: &Item| matches!(item, Item::Shared(other) if Arc::ptr_eq(other, &list));
        if !self.items.iter().any(known) {
            self.items.push(Item::Shared(list));
        }
    }

    /// Moves here what an aggregate had pending, to be given back if the frame is discarded.
    pub(super) fn take_from(&mut self, list: &Arc<PendingList>) {
        let events = std::mem::take(&mut *list.lock());
        if !events.is_empty() {
            list.mark_collected();
        }
        for event in events {
            self.add(event, Some(Arc::clone(list)));
        }
    }

    pub(super) fn has_unflushed(&self) -> bool {
        self.items.iter().any(|item| match item {
            Item::One(_) => true,
            Item::Shared(list) => !list.lock().is_empty(),
        })
    }

    pub(super) fn has_events(&self) -> bool {
        !self.flushed.is_empty() || self.has_unflushed()
    }

    pub(super) fn statement_failed(&mut self) {
        self.doubtful |= self.has_events();
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
        let mut first = None;
        self.flushed.iter().map(|written| &written.held.event).for_each(|event| note(event, &mut events, &mut first));
        self.for_each_unflushed(&mut |event| {
            note(event, &mut events, &mut first);
            Ok::<_, std::convert::Infallible>(())
        })
        .unwrap_or_else(|never| match never {});
        match first {
            Some((schema, raised_at)) => Err(FrameError::Doubtful { events, schema, raised_at }),
            None => Ok(()),
        }
    }

    pub(super) fn discard_unflushed(&mut self) -> Result<(), FrameError> {
        if !self.flushed.is_empty() {
            return Err(FrameError::AlreadyFlushed { events: self.flushed.len() });
        }
        for item in self.items.drain(..) {
            if let Item::Shared(list) = item {
                list.lock().clear();
            }
        }
        self.doubtful = false;
        Ok(())
    }

    /// Visits what is unflushed, in order.
    pub(super) fn for_each_unflushed<E>(
        &self,
        visit: &mut impl FnMut(&RaisedEvent) -> Result<(), E>,
    ) -> Result<(), E> {
        self.items.iter().try_for_each(|item| match item {
            Item::One(held) => visit(&held.event),
            Item::Shared(list) => list.lock().iter().try_for_each(&mut *visit),
        })
    }

    /// Marks the first `count` unflushed events written within `within`; returns how many of `count` lie in later frames.
    pub(super) fn mark_flushed(&mut self, mut count: usize, within: FrameId) -> usize {
        let mut items = std::mem::take(&mut self.items).into_iter();
        while count > 0 {
            match items.next() {
                Some(Item::One(held)) => {
                    self.flushed.push(Written { held, within });
                    count -= 1;
                }
                Some(Item::Shared(list)) => {
                    let taken: Vec<_> = {
                        let mut events = list.lock();
                        let most = count.min(events.len());
                        events.drain(..most).collect()
                    };
                    count -= taken.len();
                    let home = || Some(Arc::clone(&list));
                    let written = |event| Written { held: Held { event, home: home() }, within };
                    self.flushed.extend(taken.into_iter().map(written));
                    self.items.push(Item::Shared(list));
                }
                None => break,
            }
        }
        self.items.extend(items);
        count
    }

    /// What was written within `ended` is written within `below` now: the savepoint was released.
    pub(super) fn rewrite(&mut self, ended: FrameId, below: FrameId) {
        for written in self.flushed.iter_mut().filter(|written| written.within == ended) {
            written.within = below;
        }
    }

    /// What was written within `ended` is unflushed again: the savepoint was rolled back.
    pub(super) fn unwrite(&mut self, ended: FrameId) {
        let (undone, kept): (Vec<_>, _) = std::mem::take(&mut self.flushed).into_iter().partition(|w| w.within == ended);
        self.flushed = kept;
        self.items.splice(0..0, undone.into_iter().map(|written| Item::One(written.held)));
    }

    /// Takes over what a released savepoint held.
    pub(super) fn absorb(&mut self, mut child: Self, own: FrameId) {
        child.rewrite(child.id, own);
        self.flushed.extend(child.flushed);
        for item in child.items {
            match item {
                Item::Shared(list) => self.share(list),
                one @ Item::One(_) => self.items.push(one),
            }
        }
    }

    /// Forgets everything: it is written.
    pub(super) fn committed(self) {
        debug_assert!(!self.has_unflushed(), "the commit flushed everything");
    }

    /// Gives back what was collected and forgets the rest: none of it happened.
    pub(super) fn discarded(self) {
        let unflushed = self.items.into_iter().filter_map(|item| match item {
            Item::One(held) => Some(held),
            Item::Shared(_) => None,
        });
        let mut homes: Vec<(Arc<PendingList>, Vec<RaisedEvent>)> = Vec::new();
        let flushed = self.flushed.into_iter().map(|written| written.held);
        for Held { event, home } in flushed.chain(unflushed) {
            let Some(home) = home else { continue };
            match homes.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &home)) {
                Some((_, events)) => events.push(event),
                None => homes.push((home, vec![event])),
            }
        }
        for (home, events) in homes {
            home.give_back(events);
        }
    }
}

fn note(
    event: &RaisedEvent,
    events: &mut usize,
    first: &mut Option<(String, &'static std::panic::Location<'static>)>,
) {
    *events += 1;
    first.get_or_insert_with(|| (event.schema().into_owned(), event.raised_at()));
}
