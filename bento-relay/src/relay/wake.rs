//! Telling relays in the same process that events were committed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bento_core::outbox::ShardId;
use tokio::sync::Notify;

/// Wakes the relays of this process after a commit, so that they need not poll.
///
/// Make one before the relay and the connection, give it to both. Clones wake the same relays.
/// Waking is cheap, coalesces, and is only ever a hint: a relay that missed it finds the events at
/// its next poll, and without a relay it does nothing. What passes wakes on to other processes
/// [subscribes](Self::subscribe); `bento_seaorm::wake` does on PostgreSQL.
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
        self.wake_unless(shards, |_| false);
    }

    /// Is woken like a relay: for what passes wakes on to other processes.
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

/// Is woken like a relay. Dropping it ends that.
#[derive(Debug)]
pub struct WakeSubscription {
    wake: Wake,
    mailbox: Arc<Mailbox>,
}

impl WakeSubscription {
    /// Waits for a wake, and returns every shard that was named since the last time.
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

    /// Wakes everybody but this subscription: what came from another process must not be passed on
    /// to it again.
    pub fn wake_others(&self, shards: &[ShardId]) {
        self.wake
            .wake_unless(shards, |mailbox| Arc::ptr_eq(mailbox, &self.mailbox));
    }

    /// Lets every relay look at all of its shards at once: wakes from elsewhere may have been
    /// missed. Other subscriptions are told nothing, for their processes have missed none.
    pub fn wake_relays(&self) {
        self.wake.tell_unless(
            |woken| woken.all = true,
            |mailbox| Arc::ptr_eq(mailbox, &self.mailbox),
        );
    }
}

/// Where the wakes for one relay gather.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    woken: Mutex<Woken>,
    notify: Notify,
}

/// What a relay is woken for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Woken {
    /// These have events.
    pub(super) shards: BTreeSet<ShardId>,
    /// Any may have.
    pub(super) all: bool,
}

impl Mailbox {
    /// Waits until there is something to take. Cancelling it loses nothing.
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
    async fn relays_are_told_to_look_at_everything_and_subscriptions_are_not() {
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
