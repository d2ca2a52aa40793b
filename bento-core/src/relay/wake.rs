//! Telling relays in the same process that events were committed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::outbox::ShardId;

/// Wakes the relays of this process after a commit, so that they need not poll.
///
/// Make one before the relay and the connection, give it to both. Clones wake the same relays. Waking is cheap, coalesces, and
/// is only ever a hint: a relay that missed it finds the events at its next poll, and without a relay it does nothing.
#[derive(Clone, Debug, Default)]
pub struct Wake {
    mailboxes: Arc<Mutex<Vec<Weak<Mailbox>>>>,
}

impl Wake {
    /// Wakes nobody yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that these shards have events.
    pub fn wake(&self, shards: &[ShardId]) {
        if shards.is_empty() {
            return;
        }
        for mailbox in self.lock().iter().filter_map(Weak::upgrade) {
            mailbox.put(shards);
        }
    }

    /// Adds a relay.
    pub(super) fn listen(&self) -> Arc<Mailbox> {
        let mailbox = Arc::<Mailbox>::default();
        let mut mailboxes = self.lock();
        mailboxes.retain(|known| known.strong_count() > 0);
        mailboxes.push(Arc::downgrade(&mailbox));
        mailbox
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Mailbox>>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<&Wake> for Wake {
    fn from(wake: &Wake) -> Self {
        wake.clone()
    }
}

/// Where the wakes for one relay gather.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    shards: Mutex<BTreeSet<ShardId>>,
    notify: Notify,
}

impl Mailbox {
    /// Waits until there is something to take. Cancelling it loses nothing.
    pub(super) async fn filled(&self) {
        self.notify.notified().await;
    }

    pub(super) fn take(&self) -> BTreeSet<ShardId> {
        std::mem::take(&mut self.shards.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, shards: &[ShardId]) {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner).extend(shards);
        self.notify.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_wakes_coalesce() {
        let wake = Wake::new();
        let mailbox = wake.listen();
        for _ in 0..1000 {
            wake.wake(&[3, 1]);
        }
        mailbox.filled().await;
        assert_eq!(mailbox.take(), BTreeSet::from([1, 3]));
        assert_eq!(mailbox.take(), BTreeSet::new());
    }

    #[test]
    fn every_relay_is_woken_and_a_relay_that_is_gone_is_forgotten() {
        let wake = Wake::new();
        wake.wake(&[7]);
        let (first, second) = (wake.listen(), wake.clone().listen());
        wake.wake(&[1]);
        assert_eq!((first.take(), second.take()), (BTreeSet::from([1]), BTreeSet::from([1])));
        drop(first);
        let _third = wake.listen();
        assert_eq!(wake.lock().len(), 2);
    }
}
