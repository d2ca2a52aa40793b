//! Holding on to a running relay.

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

/// Looks at a running relay without holding on to it: for the health endpoint of a service that
/// keeps the [`RelayHandle`] elsewhere, to stop it at the end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RelayProbe {
    vitals: Arc<Vitals>,
    task: Option<AbortHandle>,
}

impl RelayProbe {
    /// How the relay is doing. Cheap: it asks nobody and waits for nothing, so it may be called as
    /// often as a probe likes.
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

    /// Its identity, which the leases name.
    pub fn id(&self) -> RelayId {
        self.id
    }

    /// What wakes it.
    pub fn wake(&self) -> Wake {
        self.wake.clone()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&self) -> bool {
        self.task.as_ref().is_some_and(|task| !task.is_finished())
    }

    /// How it is doing.
    pub fn health(&self) -> Health {
        self.probe().health()
    }

    /// What tells a health endpoint how it is doing, also after it was stopped.
    pub fn probe(&self) -> RelayProbe {
        RelayProbe {
            vitals: Arc::clone(&self.vitals),
            task: self.task.as_ref().map(JoinHandle::abort_handle),
        }
    }

    /// Stops it: no new batch is taken, what is in flight is finished and settled, or left to be
    /// published again if that takes longer than
    /// [`RelaySettings::drain_timeout`](super::RelaySettings::drain_timeout), and all leases are
    /// released.
    ///
    /// # Errors
    /// Those of [`join`](Self::join).
    ///
    /// # Cancel safety
    /// The relay stops nevertheless; only the wait is over.
    pub async fn stop(mut self) -> Result<(), RelayError> {
        self.stop.send_replace(true);
        self.join().await
    }

    /// Waits until it ends by itself, which it only does for what waiting cannot mend.
    ///
    /// # Errors
    /// [`RelayError`]; the outbox is divided otherwise than this process was told, for example.
    ///
    /// # Panics
    /// If the relay did: a defect.
    ///
    /// # Cancel safety
    /// The relay runs on; it can be waited for again.
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
