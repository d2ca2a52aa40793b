//! Wakes of the relays in the same process after a commit.
//!
//! Decision: docs/decisions/0020-wakes-travel-after-the-commit.md

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bento_core::outbox::ShardId;
use tokio::sync::Notify;

/// Wakes the relays of this process after a commit, so that they need not poll.
///
/// Create one before the relay and the connection, and give it to both. Clones wake the same
/// relays. A wake is cheap, coalesces, and is only a hint: a relay that missed it finds the events
/// at its next poll, and without a relay it does nothing. Code that forwards wakes to other
/// processes [subscribes](Self::subscribe); `bento_seaorm::wake` does so on PostgreSQL.
#[derive(Clone, Debug, Default)]
pub struct Wake {
    mailboxes: Arc<Mutex<Vec<Weak<Mailbox>>>>,
}

impl Wake {
    /// A handle without relays yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes the relays: these shards have events.
    pub fn wake(&self, shards: &[ShardId]) {
        self.wake_unless(shards, |_| false);
    }

    /// Subscribes to the wakes, to forward them to other processes.
    pub fn subscribe(&self) -> WakeSubscription {
        WakeSubscription {
            wake: self.clone(),
            mailbox: self.listen(),
        }
    }

    fn wake_unless(&self, shards: &[ShardId], is_left_out: impl Fn(&Arc<Mailbox>) -> bool) {
        if shards.is_empty() {
            return;
        }
        self.tell_unless(|woken| woken.shards.extend(shards), is_left_out);
    }

    fn tell_unless(&self, tell: impl Fn(&mut Woken), is_left_out: impl Fn(&Arc<Mailbox>) -> bool) {
        let mailboxes = self.lock();
        let told = mailboxes
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|mailbox| !is_left_out(mailbox));
        told.for_each(|mailbox| mailbox.put(&tell));
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
        self.mailboxes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<&Wake> for Wake {
    fn from(wake: &Wake) -> Self {
        wake.clone()
    }
}

/// A subscription to wakes. Dropping it ends the subscription.
#[derive(Debug)]
pub struct WakeSubscription {
    wake: Wake,
    mailbox: Arc<Mailbox>,
}

impl WakeSubscription {
    /// Waits for a wake, and returns every shard that was named since the last call.
    ///
    /// # Cancel safety
    /// No wake is lost: the next call returns it.
    pub async fn woken(&self) -> BTreeSet<ShardId> {
        loop {
            let shards = self.mailbox.take().shards;
            if !shards.is_empty() {
                return shards;
            }
            self.mailbox.filled().await;
        }
    }

    /// Wakes everybody but this subscription: wakes from another process must not be sent back to
    /// it.
    pub fn wake_others(&self, shards: &[ShardId]) {
        self.wake
            .wake_unless(shards, |mailbox| Arc::ptr_eq(mailbox, &self.mailbox));
    }

    /// Makes every relay poll all of its shards at once, because wakes from other processes may
    /// have been missed. Other subscriptions are not told: their processes missed nothing.
    pub fn wake_relays(&self) {
        self.wake.tell_unless(
            |woken| woken.all = true,
            |mailbox| Arc::ptr_eq(mailbox, &self.mailbox),
        );
    }
}

/// The collected wakes for one relay.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    woken: Mutex<Woken>,
    notify: Notify,
}

/// The shards for which a relay is woken.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Woken {
    /// Shards with events.
    pub(super) shards: BTreeSet<ShardId>,
    /// True if any shard may have events.
    pub(super) all: bool,
}

impl Mailbox {
    /// Waits until there is a wake to take. Cancelling it loses nothing.
    pub(super) async fn filled(&self) {
        self.notify.notified().await;
    }

    pub(super) fn take(&self) -> Woken {
        std::mem::take(&mut self.lock())
    }

    fn put(&self, tell: impl Fn(&mut Woken)) {
        tell(&mut self.lock());
        self.notify.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Woken> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert_eq!(mailbox.take().shards, BTreeSet::from([1, 3]));
        assert_eq!(mailbox.take().shards, BTreeSet::new());
    }

    #[tokio::test]
    async fn a_subscription_is_woken_by_others_and_not_by_itself() {
        let wake = Wake::new();
        let (bridge, relay) = (wake.subscribe(), wake.listen());
        bridge.wake_others(&[1]);
        wake.wake(&[2]);
        wake.wake(&[3]);
        assert_eq!(bridge.woken().await, BTreeSet::from([2, 3]));
        assert_eq!(relay.take().shards, BTreeSet::from([1, 2, 3]));
        wake.wake(&[4]);
        assert_eq!(
            bridge.woken().await,
            BTreeSet::from([4]),
            "also after a permit that was left over"
        );
    }

    #[tokio::test]
    async fn relays_look_at_everything_and_subscriptions_do_not() {
        let wake = Wake::new();
        let (bridge, other, relay) = (wake.subscribe(), wake.subscribe(), wake.listen());
        bridge.wake_relays();
        relay.filled().await;
        assert_eq!(
            relay.take(),
            Woken {
                all: true,
                ..Woken::default()
            }
        );
        assert_eq!(relay.take(), Woken::default());
        wake.wake(&[1]);
        assert_eq!(
            (bridge.woken().await, other.woken().await),
            (BTreeSet::from([1]), BTreeSet::from([1]))
        );
    }

    #[test]
    fn every_relay_is_woken_and_a_relay_that_is_gone_is_forgotten() {
        let wake = Wake::new();
        wake.wake(&[7]);
        let (first, second) = (wake.listen(), wake.clone().listen());
        wake.wake(&[1]);
        assert_eq!(
            (first.take().shards, second.take().shards),
            (BTreeSet::from([1]), BTreeSet::from([1]))
        );
        drop(first);
        let _third = wake.listen();
        assert_eq!(wake.lock().len(), 2);
    }
}
