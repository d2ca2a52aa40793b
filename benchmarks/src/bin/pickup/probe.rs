//! A publisher that notes when it was called.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bento_relay::publish::{Delivery, PublishError, Publisher};
use nix::time::{ClockId, clock_gettime};

/// The time on a clock that all processes of the machine share.
pub(crate) fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .expect("every Unix has this clock")
        .into()
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Probe(Arc<Mutex<HashMap<String, Duration>>>);

impl Probe {
    /// The time at which each order's event came.
    pub(crate) fn picked_up(&self) -> HashMap<String, Duration> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Publisher for Probe {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        let at = now();
        let mut picked_up = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        picked_up.extend(
            batch
                .iter()
                .map(|delivery| (delivery.envelope.aggregate_id.clone(), at)),
        );
        batch.iter().map(|_| Ok(())).collect()
    }
}
