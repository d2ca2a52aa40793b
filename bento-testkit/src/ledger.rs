//! Committed events compared with delivered ones.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bento_core::{Envelope, EventId};

/// Keeps account of events: what was committed, and what arrived in which order. Clones are the
/// same ledger.
///
/// ```
/// # use bento_core::EventId;
/// use bento_testkit::Ledger;
///
/// let ledger = Ledger::new();
/// let (first, second) = (EventId::new(), EventId::new());
/// ledger.commit(first, "order/1", 1);
/// ledger.commit(second, "order/1", 2);
/// ledger.deliver(second);
/// let account = ledger.check();
/// assert_eq!(account.lost, [first]);
/// assert_eq!(
///     account.to_string(),
///     "2 committed, 1 delivered: 1 lost, 0 phantom, 0 out of order, 0 duplicates"
/// );
/// ```
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Books>>);

#[derive(Debug, Default)]
struct Books {
    committed: HashMap<EventId, Entry>,
    /// The number of events of a stream that were committed without a sequence.
    counted: HashMap<String, i64>,
    delivered: Vec<EventId>,
}

#[derive(Debug)]
struct Entry {
    /// Empty for an event without order.
    stream: String,
    sequence: i64,
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that an event of `stream` is committed. Its first delivery is to come after those of
    /// lower `sequence`; an empty stream has no order.
    pub fn commit(&self, event_id: EventId, stream: &str, sequence: i64) {
        self.books().committed.insert(
            event_id,
            Entry {
                stream: stream.to_owned(),
                sequence,
            },
        );
    }

    /// Notes that an event is committed. Without a sequence of its own, it comes after those of its
    /// aggregate that were noted before.
    pub fn committed(&self, event: &Envelope) {
        let stream = if event.is_ordered() {
            format!("{}/{}", event.aggregate_type, event.aggregate_id)
        } else {
            String::new()
        };
        let sequence = event.sequence.unwrap_or_else(|| {
            let mut books = self.books();
            let counted = books.counted.entry(stream.clone()).or_default();
            *counted += 1;
            *counted
        });
        self.commit(event.event_id, &stream, sequence);
    }

    /// Notes that an event arrived. It may be noted before its commit is.
    pub fn deliver(&self, event_id: EventId) {
        self.books().delivered.push(event_id);
    }

    /// Notes that an event arrived.
    pub fn delivered(&self, event: &Envelope) {
        self.deliver(event.event_id);
    }

    /// Settles the account as of now.
    pub fn check(&self) -> Account {
        let books = self.books();
        let mut account = Account {
            committed: books.committed.len(),
            delivered: books.delivered.len(),
            ..Account::default()
        };
        let mut seen = HashSet::new();
        let mut last: BTreeMap<&str, i64> = BTreeMap::new();
        for event_id in &books.delivered {
            if !seen.insert(event_id) {
                account.duplicates += 1;
                continue;
            }
            let Some(entry) = books.committed.get(event_id) else {
                account.phantom.push(*event_id);
                continue;
            };
            if entry.stream.is_empty() {
                continue;
            }
            let last = last.entry(&entry.stream).or_insert(i64::MIN);
            if entry.sequence < *last {
                account.out_of_order.push(*event_id);
            }
            *last = entry.sequence.max(*last);
        }
        account.lost = books
            .committed
            .keys()
            .filter(|event_id| !seen.contains(event_id))
            .copied()
            .collect();
        account.lost.sort_unstable();
        account
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A settled account. Its text is one line of counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// The number of committed events.
    pub committed: usize,
    /// The number of deliveries, repeated ones included.
    pub delivered: usize,
    /// Committed and never delivered.
    pub lost: Vec<EventId>,
    /// Delivered and never committed, in the order of their first deliveries.
    pub phantom: Vec<EventId>,
    /// First delivered after a later event of their stream.
    pub out_of_order: Vec<EventId>,
    /// Deliveries beyond the first of each event.
    pub duplicates: usize,
}

impl Account {
    /// Every event arrived, none that was not committed, first deliveries in order. Duplicates are
    /// allowed.
    ///
    /// # Panics
    /// If not, with the counts and the events.
    #[track_caller]
    pub fn assert_nothing_lost_and_in_order(&self) {
        let is_sound =
            self.lost.is_empty() && self.phantom.is_empty() && self.out_of_order.is_empty();
        assert!(is_sound, "{self}: {self:?}");
    }

    /// The same, and no event arrived twice.
    ///
    /// # Panics
    /// If not, with the counts and the events.
    #[track_caller]
    pub fn assert_exact(&self) {
        self.assert_nothing_lost_and_in_order();
        assert_eq!(self.duplicates, 0, "{self}");
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            committed,
            delivered,
            lost,
            phantom,
            out_of_order,
            duplicates,
        } = self;
        let (lost, phantom, out_of_order) = (lost.len(), phantom.len(), out_of_order.len());
        write!(
            f,
            "{committed} committed, {delivered} delivered: {lost} lost, {phantom} phantom, \
             {out_of_order} out of order, {duplicates} duplicates"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids<const N: usize>() -> [EventId; N] {
        std::array::from_fn(|_| EventId::new())
    }

    #[test]
    fn everything_once_and_in_order_is_exact() {
        let (ledger, [a, b, c]) = (Ledger::new(), ids());
        ledger.deliver(a);
        ledger.commit(a, "x", 1);
        ledger.commit(b, "x", 2);
        ledger.commit(c, "", 0);
        ledger.deliver(c);
        ledger.deliver(b);
        ledger.check().assert_exact();
    }

    #[test]
    fn each_kind_of_fault_is_found() {
        let (ledger, [a, b, c, stranger]) = (Ledger::new(), ids());
        for (sequence, id) in [a, b, c].into_iter().enumerate() {
            ledger.commit(id, "x", sequence as i64);
        }
        [b, stranger, a, b]
            .into_iter()
            .for_each(|id| ledger.deliver(id));
        let account = ledger.check();
        assert_eq!(
            (account.lost, account.phantom, account.out_of_order),
            (vec![c], vec![stranger], vec![a])
        );
        assert_eq!(account.duplicates, 1);
    }

    #[test]
    fn a_duplicate_behind_a_later_event_is_not_out_of_order() {
        let (ledger, [a, b]) = (Ledger::new(), ids());
        ledger.commit(a, "x", 1);
        ledger.commit(b, "x", 2);
        [a, b, a].into_iter().for_each(|id| ledger.deliver(id));
        ledger.check().assert_nothing_lost_and_in_order();
    }
}
