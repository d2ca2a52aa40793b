//! The local deadline of a lease, by the relay's own monotonic clock.
//!
//! Decision: docs/decisions/0007-a-lease-is-lost-to-a-relay-not-to-the-clock.md

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// The local end of a lease. It is computed from the moment before the call that renewed the lease,
/// so it comes before the store's own end, whatever the clocks say. The worker and the heartbeat
/// share and extend it.
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
