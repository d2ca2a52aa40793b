//! The rows of one batch, on each of their routes, chained by stream.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bento_core::envelope::Envelope;

use super::leg::{Leg, LegState};
use super::outlet::Outlet;
use super::streams::Stream;

/// The number of the next batch. No two batches of a process share a number, so that a wave is
/// never taken for one of another batch or machine.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// The rows that one `advance` returned.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) number: u64,
    /// True if it ends while waves are out whose answers are still to be taken.
    pub(super) leaves_late: bool,
    pub(super) rows: Vec<Row>,
    pub(super) legs: Vec<Leg>,
    pub(super) outlets: Vec<Outlet>,
    tails: HashMap<Stream, Tail>,
}

/// A pending row.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) position: i64,
    pub(super) legs: Range<usize>,
    /// The number of its legs that are not settled.
    pub(super) open: usize,
    /// True if one of them moved to the held rows or the dead letters, and the row with it.
    pub(super) is_moved: bool,
    pub(super) is_confirmed: bool,
    /// The streams of fallbacks that it has moved to.
    pub(super) fallen: Vec<Stream>,
}

/// The legs of a stream in this batch.
#[derive(Debug, Default)]
pub(super) struct Tail {
    last: Option<usize>,
    /// True if a held row that keeps its place is among them.
    pub(super) has_held: bool,
    /// True if nothing more of it may be sent.
    pub(super) is_stopped: bool,
}

impl Batch {
    pub(super) fn clear(&mut self) {
        let Self {
            number,
            leaves_late,
            rows,
            legs,
            outlets,
            tails,
        } = self;
        *number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        *leaves_late = false;
        rows.clear();
        legs.clear();
        outlets.clear();
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
            fallen: Vec::new(),
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
            tail.has_held |= leg.holds && leg.is_held_row();
        }
        let is_chained = leg.is_chained;
        self.legs.push(leg);
        // The first of its stream goes at once; behind another one, only if both are chained.
        let may_go = before.is_none_or(|before| {
            let earlier = &mut self.legs[before];
            earlier.next = Some(index);
            is_chained && earlier.is_chained && earlier.state == LegState::Sent
        });
        if may_go {
            self.release(index);
        }
    }

    /// The legs of a stream so far; `None` without one.
    pub(super) fn tail(&self, name: &Arc<str>, envelope: &Arc<Envelope>) -> Option<&Tail> {
        self.tails.get(&Stream::of(name, envelope))
    }

    /// Notes that a held row of a stream has left it without being sent.
    pub(super) fn note_left(&mut self, name: &Arc<str>, envelope: &Arc<Envelope>, holds: bool) {
        if envelope.is_ordered() {
            self.tails
                .entry(Stream::of(name, envelope))
                .or_default()
                .has_held |= holds;
        }
    }

    /// Lets nothing more of a stream be sent in this batch.
    pub(super) fn stop(&mut self, name: &Arc<str>, envelope: &Arc<Envelope>) {
        if envelope.is_ordered() {
            self.tails
                .entry(Stream::of(name, envelope))
                .or_default()
                .is_stopped = true;
        }
    }

    /// Lets a leg be sent, and those chained behind it.
    pub(super) fn release(&mut self, index: usize) {
        let mut next = Some(index);
        while let Some(index) = next {
            let leg = &mut self.legs[index];
            leg.state = LegState::Sent;
            for &outlet in &leg.outlets {
                self.outlets[outlet].ready.push(index);
            }
            // A chain is released whole, so that the publisher gets it in one wave.
            next = leg.next.filter(|_| leg.is_chained);
            next = next.filter(|&next| {
                self.legs[next].is_chained && self.legs[next].state == LegState::Waiting
            });
        }
    }

    /// Lets the next leg of a stream be sent, if it waits.
    pub(super) fn release_next(&mut self, index: usize) {
        if let Some(next) = self.legs[index]
            .next
            .filter(|&next| self.legs[next].state == LegState::Waiting)
        {
            self.release(next);
        }
    }

    /// Takes every leg that keeps its place behind a failed one out of its stream, and returns
    /// them. Legs without a place go on.
    pub(super) fn cut_followers(&mut self, failed: usize) -> Vec<usize> {
        let (mut cut, mut last) = (Vec::new(), failed);
        let mut next = self.legs[failed].next.take();
        while let Some(index) = next {
            next = self.legs[index].next.take();
            if self.legs[index].holds {
                self.legs[index].state = LegState::Settled;
                cut.push(index);
            } else {
                // It has no place to keep, so it stays in what is left of the stream.
                self.legs[last].next = Some(index);
                last = index;
            }
        }
        cut
    }
}
