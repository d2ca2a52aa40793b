//! Until when a relay may send, by its own monotonic clock.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// The local end of a lease. It counts from before the call that renewed the lease, so it ends
/// before the store's does, whatever the clocks say. Shared by the worker and the heartbeat, which
/// both renew.
#[derive(Clone, Debug)]
pub(super) struct Deadline(Arc<Mutex<Instant>>);

impl Deadline {
    pub(super) fn at(instant: Instant) -> Self {
        Self(Arc::new(Mutex::new(instant)))
    }

    pub(super) fn extend(&self, to: Instant) {
        let mut deadline = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *deadline = to.max(*deadline);
    }

    pub(super) fn has_passed(&self) -> bool {
        Instant::now() >= *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
