//! The rows of one batch, chained by stream.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::envelope::Envelope;
use crate::publish::Delivery;

/// The rows that one `advance` returned and the machine may send.
#[derive(Debug, Default)]
pub(super) struct Batch {
    items: Vec<Item>,
    tails: HashMap<Stream, usize>,
    /// Rows whose turn it is: the first of each stream, or the next one after a confirmed one.
    ready: Vec<usize>,
    /// The rows of the wave that is out.
    wave: Vec<usize>,
    deliveries: Vec<Delivery>,
}

/// A row and the next one of its stream.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) place: Place,
    pub(super) delivery: Delivery,
    pub(super) next: Option<usize>,
    /// Whether an earlier row of the stream failed in this batch.
    pub(super) is_cut: bool,
    is_sent: bool,
}

/// Where a row is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the outbox, at this position.
    Fresh(i64),
    /// Among the held rows, with this original position.
    Held(i64),
}

impl Batch {
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.tails.clear();
        self.ready.clear();
        self.wave.clear();
        self.deliveries.clear();
    }

    /// Appends a row behind the last one of its stream.
    pub(super) fn push(&mut self, place: Place, delivery: Delivery) {
        let index = self.items.len();
        let before =
            if delivery.envelope.is_ordered() { self.tails.insert(Stream::of(&delivery), index) } else { None };
        match before {
            Some(before) => self.items[before].next = Some(index),
            None => self.ready.push(index),
        }
        self.items.push(Item { place, delivery, next: None, is_cut: false, is_sent: false });
    }

    pub(super) fn item(&mut self, index: usize) -> &mut Item {
        &mut self.items[index]
    }

    /// The last row of the stream of an ordered delivery.
    pub(super) fn last_of(&self, delivery: &Delivery) -> Option<&Item> {
        self.tails.get(&Stream::of(delivery)).map(|&index| &self.items[index])
    }

    /// Sends out what is ready; everything if one wave may hold whole chains.
    pub(super) fn next_wave(&mut self, chains: bool) -> Option<&[Delivery]> {
        if self.ready.is_empty() {
            return None;
        }
        if chains {
            self.ready.clear();
            self.wave.extend(0..self.items.len());
        } else {
            self.wave.append(&mut self.ready);
        }
        for &index in &self.wave {
            self.items[index].is_sent = true;
            self.deliveries.push(self.items[index].delivery.clone());
        }
        Some(&self.deliveries)
    }

    /// Takes back the wave that is out.
    pub(super) fn take_wave(&mut self) -> Vec<usize> {
        self.deliveries.clear();
        std::mem::take(&mut self.wave)
    }

    /// Notes that a row is confirmed: the next one of its stream may go, unless it is out already.
    pub(super) fn confirm(&mut self, index: usize) {
        let next = self.items[index].next.filter(|&next| !self.items[next].is_sent);
        self.ready.extend(next);
    }
}

/// The identity of a stream, borrowed from one of its events, so that telling streams apart allocates nothing.
#[derive(Debug)]
struct Stream {
    destination: Arc<str>,
    envelope: Arc<Envelope>,
}

impl Stream {
    fn of(delivery: &Delivery) -> Self {
        Self { destination: Arc::clone(&delivery.destination.name), envelope: Arc::clone(&delivery.envelope) }
    }

    fn key(&self) -> (&str, &str, &str) {
        (&self.envelope.aggregate_id, &self.envelope.aggregate_type, &self.destination)
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
