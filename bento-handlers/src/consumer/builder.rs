//! The builder of a consumer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bento_core::limits;
use bento_relay::publish::Publisher as _;
use bento_relay::source::{BoxSource, Source};
use bento_relay::store::RelayStore as _;
use bento_relay::{Relay, RelaySettings, StoreError, Wake};
use bento_seaorm::Inbox;
use bento_seaorm::inbox::ConsumerId;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admission::Admission;
use super::error::ConsumerError;
use super::handle::ConsumerHandle;
use super::patience::Patience;
use super::reader::Reader;
use super::settings::{ConsumerSettings, SourceSettings};
use super::supervisor::{keep_measuring, keep_reading};
use super::watch::Notes;
use crate::dispatcher::Dispatcher;

/// Brings the messages of brokers to handlers, through the inbox.
///
/// ```
/// # use bento_core::domain_event;
/// # use bento_handlers::{HandleError, event_handler};
/// # use bento_seaorm::OutboxTransaction;
/// # #[domain_event(schema = "order.confirmed", version = 1)]
/// # #[derive(Debug)]
/// # pub struct OrderConfirmed { pub order_id: u64 }
/// # #[event_handler(name = "stock.reserve")]
/// # async fn reserve(event: OrderConfirmed, tx: &OutboxTransaction) -> Result<(), HandleError> {
/// #     let _ = (event.order_id, tx);
/// #     Ok(())
/// # }
/// # #[cfg(not(feature = "sqlite"))]
/// # fn main() {}
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use bento_core::Envelope;
/// use bento_handlers::source::MemorySource;
/// use bento_handlers::{Consumer, Handlers};
/// use bento_seaorm::{Inbox, OutboxConnection, migrate};
///
/// # let database = sea_orm::Database::connect("sqlite::memory:").await?;
/// migrate(&database).await?;
/// let handlers = Handlers::registered().build(&OutboxConnection::new(database.clone()))?;
/// let broker = MemorySource::default();
/// let consumer = Consumer::builder(Inbox::new(database), handlers)
///     .source("orders", broker.clone())
///     .start()
///     .await?;
/// broker.send(Envelope::new("order.confirmed", 1, chrono::Utc::now(), r#"{"order_id":7}"#));
/// broker.wait_for_acknowledged(1).await;
/// consumer.stop().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Consumer;

impl Consumer {
    /// A consumer that stores messages in an inbox, and gives them to these handlers. The inbox and
    /// the handlers have a pool of connections each, except with SQLite.
    pub fn builder(inbox: Inbox, handlers: Dispatcher) -> ConsumerBuilder {
        ConsumerBuilder {
            inbox,
            handlers,
            sources: Vec::new(),
            settings: ConsumerSettings::default(),
            relay: RelaySettings::default(),
            wake: Wake::new(),
        }
    }
}

/// A consumer that was not started yet.
#[derive(Debug)]
#[must_use = "a consumer does nothing until it is started"]
pub struct ConsumerBuilder {
    inbox: Inbox,
    handlers: Dispatcher,
    sources: Vec<(Arc<str>, BoxSource, SourceSettings)>,
    settings: ConsumerSettings,
    relay: RelaySettings,
    wake: Wake,
}

impl ConsumerBuilder {
    /// Adds a source with the default [`SourceSettings`]. The name is stable: the lease, the place
    /// in the source and the ids of foreign messages belong to it, in every process.
    pub fn source(self, name: impl Into<Arc<str>>, source: impl Source) -> Self {
        self.source_with(name, source, SourceSettings::default())
    }

    /// Adds a source with settings of its own.
    pub fn source_with(
        mut self,
        name: impl Into<Arc<str>>,
        source: impl Source,
        settings: SourceSettings,
    ) -> Self {
        self.sources
            .push((name.into(), BoxSource::new(source), settings));
        self
    }

    /// Sets all settings at once.
    pub fn settings(self, settings: ConsumerSettings) -> Self {
        Self { settings, ..self }
    }

    /// Sets the settings of the relay of the inbox.
    pub fn relay(self, relay: RelaySettings) -> Self {
        Self { relay, ..self }
    }

    /// Sets the `source` of this service's own events; see [`ConsumerSettings::own_origin`].
    pub fn own_origin(mut self, origin: impl Into<String>) -> Self {
        self.settings.own_origin = Some(origin.into());
        self
    }

    /// Starts the consumer on the current tokio runtime, and returns when each source is subscribed
    /// or found to be read by another process.
    ///
    /// # Errors
    /// [`ConsumerError`]: a broker refuses a source or cannot be reached within
    /// [`start_timeout`](ConsumerSettings::start_timeout), the database cannot be, or a setting is
    /// out of range. Nothing goes on then.
    ///
    /// # Cancel safety
    /// A consumer whose start is dropped ends in the background.
    pub async fn start(self) -> Result<ConsumerHandle, ConsumerError> {
        let limit = self.settings.start_timeout;
        let began = Instant::now();
        self.check()?;
        self.record_handlers(began + limit).await?;
        let consumer = self.spawn()?;
        for notes in consumer.notes().cloned().collect::<Vec<_>>() {
            let left = limit.saturating_sub(began.elapsed());
            let Err(source) = notes.ready(left).await else {
                continue;
            };
            let name = notes.name.to_string();
            // What has begun is to end before the caller learns why; its own end tells no more.
            let _ = consumer.stop().await;
            return Err(match source.is_refused() {
                true => ConsumerError::Refused { name, source },
                false => ConsumerError::Unreachable { name, source },
            });
        }
        Ok(consumer)
    }

    /// Starts the consumer and does not wait for its brokers: a service that has to start while its
    /// broker is away. [`health`](ConsumerHandle::health) says what each source waits for.
    ///
    /// # Errors
    /// [`ConsumerError`]: a setting is out of range, or the database cannot be reached within
    /// [`start_timeout`](ConsumerSettings::start_timeout).
    ///
    /// # Cancel safety
    /// A dropped call starts nothing.
    pub async fn start_in_background(self) -> Result<ConsumerHandle, ConsumerError> {
        self.check()?;
        let limit = self.settings.start_timeout;
        self.record_handlers(Instant::now() + limit).await?;
        self.spawn()
    }

    fn check(&self) -> Result<(), ConsumerError> {
        self.settings.check()?;
        let (inbox, handlers) = (self.inbox.table_prefix(), self.handlers.table_prefix());
        if inbox != handlers {
            let (inbox, handlers) = (inbox.clone(), handlers.clone());
            return Err(ConsumerError::OtherTables { inbox, handlers });
        }
        if self.handlers.is_empty() {
            return Err(ConsumerError::NoHandlers);
        }
        let mut names = BTreeMap::new();
        for (name, ..) in &self.sources {
            let refused = |rule: String| ConsumerError::SourceName {
                name: name.to_string(),
                rule,
            };
            if name.is_empty() {
                return Err(refused(
                    "a source needs a name; give it one that stays".into(),
                ));
            }
            limits::check_text("source", name, limits::DESTINATION)
                .map_err(|rule| refused(rule.to_string()))?;
            if names.insert(name, ()).is_some() {
                return Err(refused(
                    "two sources have this name; give each a name of its own".into(),
                ));
            }
        }
        Ok(())
    }

    /// Records the handlers before anything is received: what no recorded handler takes is
    /// acknowledged and left out.
    async fn record_handlers(&self, until: Instant) -> Result<(), ConsumerError> {
        let store = self.inbox.store();
        let routes = self.handlers.handlers();
        loop {
            let recorded = async {
                store.open().await?;
                store.record_handlers(&routes).await
            };
            let recorded = timeout_at(until, recorded).await;
            match recorded.unwrap_or_else(|late| Err(StoreError::unavailable(late))) {
                Ok(()) => return Ok(()),
                Err(StoreError::Unavailable { .. }) if Instant::now() < until => {
                    sleep(Duration::from_millis(250)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn spawn(self) -> Result<ConsumerHandle, ConsumerError> {
        let Self {
            inbox,
            handlers,
            sources,
            settings,
            relay,
            wake,
        } = self;
        let retention = handlers.retention();
        let relay = Relay::builder(inbox.store(), handlers)
            .settings(relay)
            .wake(wake.clone())
            .start()?;
        let (id, stop, settings) = (
            ConsumerId::new(),
            CancellationToken::new(),
            Arc::new(settings),
        );
        let patience = Patience::new(settings.lease, stop.clone());
        let tasks = TaskTracker::new();
        let mut notes = Vec::new();
        for (name, source, of_source) in sources {
            let admission = Admission {
                settings: of_source,
                own_origin: settings.own_origin.clone(),
                retention,
            };
            let reader = Reader {
                name: Arc::clone(&name),
                source,
                inbox: inbox.clone(),
                id,
                settings: Arc::clone(&settings),
                admission,
                wake: wake.clone(),
                notes: Notes::new(name),
                stop: stop.clone(),
                patience: patience.clone(),
            };
            notes.push(reader.notes.clone());
            tasks.spawn(keep_reading(reader));
        }
        tasks.spawn(keep_measuring(inbox.clone(), stop.clone()));
        tasks.close();
        Ok(ConsumerHandle::new(
            relay, inbox, settings, retention, wake, notes, tasks, patience, stop,
        ))
    }
}
