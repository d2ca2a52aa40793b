//! Handles of a running relay.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

use super::error::RelayError;
use super::health::{Health, Vitals};
use super::shared::Shared;
use super::supervisor::Supervisor;
use super::wake::Wake;
use crate::publish::Publisher;
use crate::store::{RelayId, RelayStore};

/// A running relay. Dropping it stops the relay in the background; [`stop`](Self::stop) also waits
/// for it.
#[derive(Debug)]
#[must_use = "dropping the handle stops the relay"]
pub struct RelayHandle {
    id: RelayId,
    wake: Wake,
    vitals: Arc<Vitals>,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<Result<(), RelayError>>>,
}

/// A view of a running relay that does not keep it running: for the health endpoint of a service
/// that keeps the [`RelayHandle`] elsewhere, to stop the relay at the end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RelayProbe {
    vitals: Arc<Vitals>,
    task: Option<AbortHandle>,
}

impl RelayProbe {
    /// Returns the health of the relay. The call does no I/O and does not wait, so it suits any
    /// probe interval.
    pub fn health(&self) -> Health {
        self.vitals
            .health(self.task.as_ref().is_some_and(|task| !task.is_finished()))
    }
}

impl RelayHandle {
    pub(super) fn spawn<S: RelayStore, P: Publisher>(
        runtime: &Handle,
        shared: Arc<Shared<S, P>>,
        wake: Wake,
    ) -> Self {
        let (stop, told) = watch::channel(false);
        let (id, vitals) = (shared.id, Arc::clone(&shared.vitals));
        let task = runtime.spawn(Supervisor::new(shared, wake.listen(), told).run());
        Self {
            id,
            wake,
            vitals,
            stop,
            task: Some(task),
        }
    }

    /// The id of the relay, which its leases name.
    pub fn id(&self) -> RelayId {
        self.id
    }

    /// The handle that wakes the relay.
    pub fn wake(&self) -> Wake {
        self.wake.clone()
    }

    /// True until the relay has ended.
    pub fn is_running(&self) -> bool {
        self.task.as_ref().is_some_and(|task| !task.is_finished())
    }

    /// Returns the health of the relay.
    pub fn health(&self) -> Health {
        self.probe().health()
    }

    /// Returns a probe for a health endpoint; it answers also after the relay was stopped.
    pub fn probe(&self) -> RelayProbe {
        RelayProbe {
            vitals: Arc::clone(&self.vitals),
            task: self.task.as_ref().map(JoinHandle::abort_handle),
        }
    }

    /// Stops the relay: it takes no new batch, finishes and settles the events in flight, and
    /// releases all leases. Events that take longer than
    /// [`RelaySettings::drain_timeout`](super::RelaySettings::drain_timeout) are left to be
    /// published again.
    ///
    /// # Errors
    /// Those of [`join`](Self::join).
    ///
    /// # Cancel safety
    /// The relay stops also if the future is dropped; only the wait ends.
    pub async fn stop(mut self) -> Result<(), RelayError> {
        self.stop.send_replace(true);
        self.join().await
    }

    /// Waits until the relay ends by itself, which it does only after an error that waiting cannot
    /// repair.
    ///
    /// # Errors
    /// [`RelayError`]; for example the recorded sharding of the outbox differs from that of this
    /// process.
    ///
    /// # Panics
    /// If the relay panicked, which is a defect.
    ///
    /// # Cancel safety
    /// The relay keeps running; the call can be repeated.
    pub async fn join(&mut self) -> Result<(), RelayError> {
        let Some(task) = &mut self.task else {
            return Ok(());
        };
        let ended = task.await;
        self.task = None;
        match ended {
            Ok(result) => result,
            Err(failure) if failure.is_panic() => std::panic::resume_unwind(failure.into_panic()),
            // The runtime is shutting down and has dropped the task.
            Err(_) => Ok(()),
        }
    }
}

impl From<&RelayHandle> for Wake {
    fn from(relay: &RelayHandle) -> Self {
        relay.wake()
    }
}
