//! The handle of a running consumer.

use std::sync::Arc;
use std::time::Duration;

use bento_relay::{RelayHandle, RelayProbe, Wake};
use bento_seaorm::Inbox;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::admission::Admission;
use super::error::ConsumerError;
use super::health::ConsumerHealth;
use super::intake::InboxIntake;
use super::patience::Patience;
use super::settings::{ConsumerSettings, SourceSettings};
use super::watch::Notes;

/// A running consumer. Dropping it stops the consumer in the background; [`stop`](Self::stop) also
/// waits for it.
#[derive(Debug)]
#[must_use = "dropping the handle stops the consumer"]
pub struct ConsumerHandle {
    relay: RelayHandle,
    inbox: Inbox,
    settings: Arc<ConsumerSettings>,
    retention: Duration,
    wake: Wake,
    notes: Arc<[Notes]>,
    tasks: TaskTracker,
    patience: Patience,
    stop: DropGuard,
}

/// A view of a running consumer that does not keep it running: for the health endpoint of a service
/// that keeps the [`ConsumerHandle`] elsewhere, to stop the consumer at the end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ConsumerProbe {
    relay: RelayProbe,
    notes: Arc<[Notes]>,
}

impl ConsumerProbe {
    /// Returns the health of the relay and of each source. It does no I/O. A consumer that has
    /// stopped is not alive.
    #[must_use]
    pub fn health(&self) -> ConsumerHealth {
        let notes = self.notes.iter();
        ConsumerHealth {
            relay: self.relay.health(),
            sources: notes
                .map(|notes| (Arc::clone(&notes.name), notes.health()))
                .collect(),
        }
    }
}

impl ConsumerHandle {
    #[expect(clippy::too_many_arguments, reason = "one per part")]
    pub(super) fn new(
        relay: RelayHandle,
        inbox: Inbox,
        settings: Arc<ConsumerSettings>,
        retention: Duration,
        wake: Wake,
        notes: Vec<Notes>,
        tasks: TaskTracker,
        patience: Patience,
        stop: CancellationToken,
    ) -> Self {
        Self {
            relay,
            inbox,
            settings,
            retention,
            wake,
            notes: notes.into(),
            tasks,
            patience,
            stop: stop.drop_guard(),
        }
    }

    pub(super) fn notes(&self) -> impl Iterator<Item = &Notes> {
        self.notes.iter()
    }

    /// Returns the health of the relay and of each source. It does no I/O.
    #[must_use]
    pub fn health(&self) -> ConsumerHealth {
        self.probe().health()
    }

    /// Returns a probe for a health endpoint; it answers also after the consumer was stopped.
    #[must_use]
    pub fn probe(&self) -> ConsumerProbe {
        ConsumerProbe {
            relay: self.relay.probe(),
            notes: Arc::clone(&self.notes),
        }
    }

    /// The inbox, for operators and dashboards.
    #[must_use]
    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// A way into the inbox for messages that are pushed, as by HTTP requests. The name is stable,
    /// as that of a source: ids of foreign messages are made of it.
    #[must_use]
    pub fn intake(&self, name: impl Into<String>, settings: SourceSettings) -> InboxIntake {
        let admission = Admission {
            settings,
            own_origin: self.settings.own_origin.clone(),
            retention: self.retention,
        };
        InboxIntake::new(
            name.into(),
            self.inbox.clone(),
            admission,
            self.settings.max_backlog,
            self.wake.clone(),
            self.patience.clone(),
        )
    }

    /// Stops the consumer: it receives nothing more, stores and acknowledges what it has, hands its
    /// sources back, and lets the running handlers finish.
    ///
    /// # Errors
    /// [`ConsumerError::Relay`] if the relay had ended before.
    ///
    /// # Cancel safety
    /// The consumer stops also if the future is dropped; only the wait ends.
    pub async fn stop(self) -> Result<(), ConsumerError> {
        drop(self.stop);
        self.tasks.wait().await;
        Ok(self.relay.stop().await?)
    }

    /// Waits until the consumer ends by itself, which it does only after an error of its relay that
    /// waiting cannot repair.
    ///
    /// # Errors
    /// [`ConsumerError::Relay`].
    ///
    /// # Cancel safety
    /// The consumer keeps running; the call can be repeated.
    pub async fn join(&mut self) -> Result<(), ConsumerError> {
        Ok(self.relay.join().await?)
    }
}
