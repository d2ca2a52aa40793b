//! The rows of one batch, on each of their routes, chained by stream.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bento_core::envelope::Envelope;
use smallvec::SmallVec;

use super::outlet::{Outlet, Piece};
use crate::publish::PublishError;
use crate::route::Route;

/// No two batches of a process have the same number, so that a wave is never taken for one of
/// another batch or machine.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// The rows that one `advance` returned.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) number: u64,
    /// Whether it ends while waves are out that are still listened for.
    pub(super) leaves_late: bool,
    pub(super) rows: Vec<Row>,
    pub(super) legs: Vec<Leg>,
    pub(super) outlets: Vec<Outlet>,
    /// Streams of fallbacks that a row of this batch has moved to.
    pub(super) fallen: Vec<(usize, Stream)>,
    tails: HashMap<Stream, Tail>,
}

/// A pending row.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) position: i64,
    pub(super) legs: Range<usize>,
    /// How many of its legs are not settled.
    pub(super) open: usize,
    /// Whether one of them moved to the held rows or the dead letters, and the row with it.
    pub(super) is_moved: bool,
    pub(super) is_confirmed: bool,
}

/// One row on one of its routes.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) place: Place,
    /// The name under which progress is kept.
    pub(super) name: Arc<str>,
    pub(super) route: Arc<Route>,
    pub(super) envelope: Arc<Envelope>,
    pub(super) attempts: u32,
    /// True if it may be what made a call break off, so that it is sent alone.
    pub(super) is_suspect: bool,
    /// Whether it keeps its place in its stream: if it fails, later ones wait.
    pub(super) holds: bool,
    /// Whether it may be sent together with the one before it.
    pub(super) is_chained: bool,
    /// Where it is still to go.
    pub(super) members: SmallVec<[Member; 1]>,
    /// How many of them have not answered.
    pub(super) open: usize,
    /// Of several destinations, those that have confirmed it.
    pub(super) delivered: Vec<Arc<str>>,
    /// Whether one of them did in this batch.
    pub(super) is_partial: bool,
    /// Those that refused it in this batch.
    pub(super) faults: Vec<(Arc<str>, PublishError)>,
    pub(super) next: Option<usize>,
    pub(super) state: State,
}

/// One destination of a leg.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) outlet: usize,
    /// Which of the route's.
    pub(super) destination: usize,
    /// Whether it is in a wave that is out.
    pub(super) is_out: bool,
}

/// Where a row is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the outbox.
    Pending {
        /// Which of the batch.
        row: usize,
    },
    /// Among the held rows, with this original position.
    Held {
        /// Where it was in the outbox.
        position: i64,
    },
}

/// What has become of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// An earlier one of its stream is not answered.
    Waiting,
    /// It is on its way, or would be if its destination took it.
    Sent,
    /// Confirmed, buried, held out of order, or a held row that stays.
    Settled,
    /// A pending one that is held, in the order of its stream.
    Held,
}

/// What is known of a stream in this batch.
#[derive(Debug, Default)]
pub(super) struct Tail {
    last: Option<usize>,
    /// Whether a held row that keeps its place is among them.
    pub(super) has_held: bool,
    /// Whether nothing more of it may be sent.
    pub(super) is_shut: bool,
}

impl Batch {
    pub(super) fn clear(&mut self) {
        let Self {
            number,
            leaves_late,
            rows,
            legs,
            outlets,
            fallen,
            tails,
        } = self;
        *number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        *leaves_late = false;
        rows.clear();
        legs.clear();
        outlets.clear();
        fallen.clear();
        tails.clear();
    }

    /// Begins a pending row, whose legs follow.
    pub(super) fn begin_row(&mut self, position: i64, open: usize) -> usize {
        let first = self.legs.len();
        self.rows.push(Row {
            position,
            legs: first..first + open,
            open,
            is_moved: false,
            is_confirmed: false,
        });
        self.rows.len() - 1
    }

    /// Adds a leg that is not to be sent.
    pub(super) fn add(&mut self, leg: Leg) -> usize {
        self.legs.push(leg);
        self.legs.len() - 1
    }

    /// Adds a leg behind the last one of its stream.
    pub(super) fn append(&mut self, leg: Leg) {
        let index = self.legs.len();
        let mut before = None;
        if leg.envelope.is_ordered() {
            let tail = self
                .tails
                .entry(Stream::of(&leg.name, &leg.envelope))
                .or_default();
            before = tail.last.replace(index);
            tail.has_held |= leg.holds && matches!(leg.place, Place::Held { .. });
        }
        let is_chained = leg.is_chained;
        self.legs.push(leg);
        let may_go = before.is_none_or(|before| {
            let earlier = &mut self.legs[before];
            earlier.next = Some(index);
            is_chained && earlier.is_chained && earlier.state == State::Sent
        });
        if may_go {
            self.release(index);
        }
    }

    /// What is known of the stream of an ordered leg; `None` if nothing of it came yet.
    pub(super) fn tail(&self, name: &Arc<str>, envelope: &Arc<Envelope>) -> Option<&Tail> {
        self.tails.get(&Stream::of(name, envelope))
    }

    /// Notes that a held row of a stream has left it without being sent.
    pub(super) fn pass(&mut self, name: &Arc<str>, envelope: &Arc<Envelope>, holds: bool) {
        if envelope.is_ordered() {
            self.tails
                .entry(Stream::of(name, envelope))
                .or_default()
                .has_held |= holds;
        }
    }

    /// Lets nothing more of a stream be sent in this batch.
    pub(super) fn shut(&mut self, name: &Arc<str>, envelope: &Arc<Envelope>) {
        if envelope.is_ordered() {
            self.tails
                .entry(Stream::of(name, envelope))
                .or_default()
                .is_shut = true;
        }
    }

    /// Lets a leg go, and what is chained behind it.
    pub(super) fn release(&mut self, index: usize) {
        let mut next = Some(index);
        while let Some(index) = next {
            let leg = &mut self.legs[index];
            leg.state = State::Sent;
            for (member, target) in leg.members.iter().enumerate() {
                self.outlets[target.outlet]
                    .ready
                    .push(Piece { leg: index, member });
            }
            next = leg.next.filter(|_| leg.is_chained);
            next = next.filter(|&next| {
                self.legs[next].is_chained && self.legs[next].state == State::Waiting
            });
        }
    }

    /// Lets the next one of a stream go, if it waits.
    pub(super) fn release_next(&mut self, index: usize) {
        if let Some(next) = self.legs[index]
            .next
            .filter(|&next| self.legs[next].state == State::Waiting)
        {
            self.release(next);
        }
    }

    /// Takes everything that keeps its place behind a failed leg out of the batch, and returns it.
    /// What keeps none goes on.
    pub(super) fn cut_followers(&mut self, failed: usize) -> Vec<usize> {
        let (mut cut, mut last) = (Vec::new(), failed);
        let mut next = self.legs[failed].next.take();
        while let Some(index) = next {
            next = self.legs[index].next.take();
            if self.legs[index].holds {
                self.legs[index].state = State::Settled;
                cut.push(index);
            } else {
                self.legs[last].next = Some(index);
                last = index;
            }
        }
        cut
    }
}

impl Leg {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Waiting | State::Sent)
    }

    /// In how many waves it is out.
    pub(super) fn out(&self) -> usize {
        self.members.iter().filter(|member| member.is_out).count()
    }
}

/// The identity of a stream, borrowed from one of its events, so that telling streams apart
/// allocates nothing.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    name: Arc<str>,
    envelope: Arc<Envelope>,
}

impl Stream {
    pub(super) fn of(name: &Arc<str>, envelope: &Arc<Envelope>) -> Self {
        Self {
            name: Arc::clone(name),
            envelope: Arc::clone(envelope),
        }
    }

    fn key(&self) -> (&str, &str, &str) {
        (
            &self.envelope.aggregate_id,
            &self.envelope.aggregate_type,
            &self.name,
        )
    }
}

impl Hash for Stream {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialEq for Stream {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Stream {}
