//! The builder of a relay.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::breaker::Breakers;
use super::clock::StoreClock;
use super::error::{MissingKind, RelayError, RouteNameError, UnknownDestination};
use super::handle::RelayHandle;
use super::health::Vitals;
use super::pass::{self, PassReport};
use super::roster::Roster;
#[cfg(doc)]
use super::settings::CircuitSettings;
use super::settings::{RelaySettings, SettingsError};
use super::shared::Shared;
use super::slots::Slots;
use super::wake::Wake;
use crate::publish::{Publisher, UnfitPublisher};
use crate::retry::RetryPolicies;
use crate::route::Router;
use crate::store::{RelayId, RelayStore};

/// Takes committed events from a store to a publisher.
///
/// ```
/// use bento_core::envelope::Envelope;
/// use bento_core::outbox::OutboxEntry;
/// use bento_relay::publish::MemoryPublisher;
/// use bento_relay::{MemoryStore, Relay};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (store, broker) = (MemoryStore::default(), MemoryPublisher::new());
/// let envelope = Envelope::new("order.placed", 1, chrono::Utc::now(), "{}");
/// store.append([OutboxEntry { shard: 0, may_be_known: false, envelope }]);
/// let report = Relay::builder(store, broker.clone()).run_until_empty().await?;
/// assert_eq!(report.tally.published, 1);
/// assert_eq!(broker.published()[0].event_type(), "order.placed");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Relay;

impl Relay {
    /// A relay from `store` to `publisher`, with the default [`RelaySettings`].
    ///
    /// ```
    /// # use bento_relay::publish::MemoryPublisher;
    /// # use bento_relay::{MemoryStore, Relay};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let relay = Relay::builder(MemoryStore::default(), MemoryPublisher::default()).start()?;
    /// // … the application runs …
    /// relay.stop().await?;
    /// # Ok(()) }
    /// ```
    pub fn builder<S: RelayStore, P: Publisher>(store: S, publisher: P) -> RelayBuilder<S, P> {
        RelayBuilder {
            store,
            publisher,
            router: Router::default(),
            settings: RelaySettings::default(),
            id: RelayId::new(),
            wake: Wake::new(),
            seed: None,
        }
    }
}

/// A relay that was not started yet.
#[derive(Debug)]
#[must_use = "a relay does nothing until it is started"]
pub struct RelayBuilder<S, P> {
    store: S,
    publisher: P,
    router: Router,
    settings: RelaySettings,
    id: RelayId,
    wake: Wake,
    seed: Option<u64>,
}

/// The error of a relay that could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is out of range.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A route leads to a destination that the publisher does not serve.
    #[error(transparent)]
    UnknownDestination(#[from] UnknownDestination),
    /// A route has a name that cannot be recorded.
    #[error(transparent)]
    RouteName(#[from] RouteNameError),
    /// A rule does not say which kind of events it takes, in a program with integration events.
    #[error(transparent)]
    Kind(#[from] MissingKind),
    /// The publisher cannot work with the settings or the store of the relay.
    #[error(transparent)]
    Publisher(#[from] UnfitPublisher),
    /// The caller has no tokio runtime to run the relay's tasks.
    #[error(
        "a relay needs a tokio runtime; start it inside one, or call `start` within \
         `Runtime::enter`"
    )]
    NoRuntime,
}

impl<S: RelayStore, P: Publisher> RelayBuilder<S, P> {
    /// Sets the router; without one, all events go to the default destination. If the publisher has
    /// [only handlers](Publisher::has_only_handlers), they go to those alone.
    ///
    /// ```
    /// # use bento_relay::publish::{Destination, MemoryPublisher};
    /// # use bento_relay::{MemoryStore, Relay};
    /// # use bento_relay::route::Router;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let router = Router::to(Destination::new("audit").with_topic("audit.log"));
    /// let (store, broker) = (MemoryStore::default(), MemoryPublisher::new());
    /// let relay = Relay::builder(store, broker).router(router).start()?;
    /// # relay.stop().await?;
    /// # Ok(()) }
    /// ```
    pub fn router(self, router: Router) -> Self {
        Self { router, ..self }
    }

    /// Sets all settings at once.
    pub fn settings(self, settings: RelaySettings) -> Self {
        Self { settings, ..self }
    }

    /// Lets `wake` wake the relay after each commit.
    pub fn wake(self, wake: impl Into<Wake>) -> Self {
        Self {
            wake: wake.into(),
            ..self
        }
    }

    /// See [`RelaySettings::batch`].
    pub fn batch(self, rows: usize) -> Self {
        self.adjust(|settings| settings.batch = rows)
    }

    /// See [`RelaySettings::batch_bytes`].
    pub fn batch_bytes(self, bytes: usize) -> Self {
        self.adjust(|settings| settings.batch_bytes = bytes)
    }

    /// See [`RelaySettings::workers`].
    pub fn workers(self, workers: usize) -> Self {
        self.adjust(|settings| settings.workers = workers)
    }

    /// See [`RelaySettings::retry`].
    pub fn retry(self, policies: impl Into<RetryPolicies>) -> Self {
        self.adjust(|settings| settings.retry = policies.into())
    }

    /// See [`CircuitSettings::failure_threshold`].
    pub fn failure_threshold(self, failures: u32) -> Self {
        self.adjust(|settings| settings.circuit.failure_threshold = failures)
    }

    /// See [`RelaySettings::lease`].
    pub fn lease(self, duration: Duration) -> Self {
        self.adjust(|settings| settings.lease = duration)
    }

    /// See [`RelaySettings::poll_busy`] and [`RelaySettings::poll_idle`].
    pub fn poll(self, busy: Duration, idle: Duration) -> Self {
        self.adjust(|settings| (settings.poll_busy, settings.poll_idle) = (busy, idle))
    }

    /// See [`RelaySettings::max_retry_after`].
    pub fn max_retry_after(self, limit: Duration) -> Self {
        self.adjust(|settings| settings.max_retry_after = limit)
    }

    /// See [`RelaySettings::publish_timeout`].
    pub fn publish_timeout(self, limit: Duration) -> Self {
        self.adjust(|settings| settings.publish_timeout = limit)
    }

    /// See [`RelaySettings::drain_timeout`].
    pub fn drain_timeout(self, limit: Duration) -> Self {
        self.adjust(|settings| settings.drain_timeout = limit)
    }

    /// See [`RelaySettings::unroutable_after`].
    pub fn unroutable_after(self, patience: Duration) -> Self {
        self.adjust(|settings| settings.unroutable_after = patience)
    }

    /// See [`RelaySettings::retention`].
    pub fn retention(self, duration: Duration) -> Self {
        self.adjust(|settings| settings.retention = Some(duration))
    }

    /// See [`RelaySettings::lanes`].
    pub fn lanes(self, lanes: impl IntoIterator<Item = u16>) -> Self {
        self.adjust(|settings| settings.lanes = Some(lanes.into_iter().collect()))
    }

    /// Makes the jitter of the retries repeatable, for tests.
    pub fn seed(self, seed: u64) -> Self {
        Self {
            seed: Some(seed),
            ..self
        }
    }

    /// Starts the relay on the current tokio runtime.
    ///
    /// The relay waits until the store is available and its tables exist, with an error line for
    /// each attempt. An error that waiting cannot repair ends it, see [`RelayHandle::join`].
    ///
    /// # Errors
    /// [`StartError`]: a setting is out of range, a route has an invalid name, a route leads to a
    /// destination without a publisher, a rule does not say its kind in a program with integration
    /// events, the publisher refuses the relay's settings or store, or the
    /// runtime is missing.
    pub fn start(self) -> Result<RelayHandle, StartError> {
        self.settings.validate()?;
        let runtime = Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        let wake = self.wake.clone();
        let shared = self.shared();
        shared.check_names()?;
        shared.check_destinations()?;
        shared.check_kinds()?;
        shared.prepare_publisher()?;
        Ok(RelayHandle::spawn(&runtime, shared, wake))
    }

    /// Takes one batch from every free shard, releases the shards, and returns the outcome. For
    /// cron jobs.
    ///
    /// The batch has up to [`batch`](Self::batch) rows of each kind, whatever their size.
    ///
    /// # Errors
    /// [`RelayError`]; events published before it are settled, or published again later.
    ///
    /// # Cancel safety
    /// Events in flight may be published and stay in the outbox, so they may be published again.
    /// The leases are not released but run out.
    pub async fn run_once(self) -> Result<PassReport, RelayError> {
        self.settings.validate()?;
        pass::run(self.shared(), pass::Extent::OneBatch).await
    }

    /// Publishes until the free shards have no due event, releases them, and returns the outcome.
    /// Events that are held until later, or parked, stay.
    ///
    /// # Errors
    /// [`RelayError`]; events published before it are settled, or published again later.
    ///
    /// # Cancel safety
    /// Events in flight may be published and stay in the outbox, so they may be published again.
    /// The leases are not released but run out.
    pub async fn run_until_empty(self) -> Result<PassReport, RelayError> {
        self.settings.validate()?;
        pass::run(self.shared(), pass::Extent::UntilEmpty).await
    }

    fn adjust<T>(mut self, change: impl FnOnce(&mut RelaySettings) -> T) -> Self {
        change(&mut self.settings);
        self
    }

    fn shared(self) -> Arc<Shared<S, P>> {
        let Self {
            store,
            publisher,
            router,
            settings,
            id,
            wake: _,
            seed,
        } = self;
        let router = if router.is_default() && publisher.has_only_handlers() {
            Router::nowhere()
        } else {
            router
        };
        let roster = Arc::new(Roster::new(publisher.handlers()));
        let breakers = Breakers::new(settings.circuit.failure_threshold, &router, roster.routes());
        let breakers = Arc::new(breakers);
        let vitals = Arc::new(Vitals::new(Arc::clone(&breakers), Arc::clone(&roster)));
        let seed = seed.unwrap_or_else(|| fastrand::u64(..));
        let clock = StoreClock::default();
        Arc::new(Shared {
            store,
            publisher,
            router,
            settings,
            id,
            seed,
            breakers,
            slots: Slots::default(),
            roster,
            vitals,
            clock,
        })
    }
}
