//! Settings out of a file and the environment.
//!
//! Defaults, below a TOML file, below variables `BENTO_…`, as one typed value: [`Settings`].
//!
//! ```toml
//! # the section of [publishers.*] that gets the events, unless a rule names another one
//! publisher = "nats"
//!
//! [relay]
//! batch = 500
//! lease = "10s"
//! retry = "patient"
//!
//! [publishers.nats]
//! urls = ["nats://nats.local:4222"]
//! credentials = { token_file = "/run/secrets/nats" }
//! ```
//!
//! - A variable is the key in capitals behind `BENTO_`, with two underscores for each dot:
//!   `BENTO_RELAY__BATCH`, `BENTO_PUBLISHERS__NATS__PREFIX`. Its value is a text, a number or the
//!   like as the key wants it; lists are written with commas or as TOML does. An empty one counts
//!   as not set. `BENTO_CONFIG` names the file; `BENTO_TEST_…` is left to tests. What Kubernetes
//!   makes for a Service whose name begins with `bento` is passed over.
//! - `<key>_file` in the place of any `<key>` names a file that holds the value, without the line
//!   break at its end: for secrets.
//! - A section `[publishers.<name>]` is of the kind that its `kind` says, else its name. `console`
//!   and `memory` need no section.
//! - A section `[handlers.<name>]` has the settings of a handler, whose name has dots:
//!   `[handlers.stock.reserve]`, `BENTO_HANDLERS__STOCK__RESERVE__TIMEOUT`.
//! - A section `[projections.<name>]` says how a new version of a projection is built.
//! - Everything that is wrong is reported at once, each with the line or the variable. No message
//!   shows a secret.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[cfg(feature = "handlers")]
use bento_handlers::{ConsumerSettings, HandlerSettings, ProjectionSettings};
use bento_relay::publish::{Destination, Publishers};
use bento_relay::route::{Router, RouterConfig, RouterErrors};
use bento_relay::{Relay, RelayBuilder, RelaySettings, RelayStore};

mod builder;
mod check;
mod fault;
#[cfg(feature = "handlers")]
mod handlers;
mod kubernetes;
mod origin;
#[cfg(feature = "handlers")]
mod projections;
mod publishers;
mod read;
mod router;
#[cfg(feature = "handlers")]
mod sources;
#[cfg(test)]
mod tests;
mod tree;
mod value;

pub use self::builder::SettingsBuilder;
pub use self::check::{CheckError, CheckErrors};
pub use self::fault::{ConfigError, Fault, FaultKind, Faults};
pub use self::origin::Origin;
pub use self::publishers::{ConsoleFormat, ConsoleSettings, MemorySettings, PublisherSettings};
#[cfg(feature = "handlers")]
pub use self::sources::{BrokerSource, ConfiguredSource};
use bento_brokers::ConnectError;
pub use bento_relay::route::{KeyPath, Step};

/// Everything that can be configured about a relay and where it publishes.
///
/// ```
/// use bento::Settings;
///
/// let settings = Settings::builder()
///     .toml("publisher = \"console\"\n[relay]\nbatch = 500")?
///     .vars([("BENTO_RELAY__BATCH", "50")])
///     .build()?;
/// assert_eq!(settings.relay.batch, 50);
///
/// let typo = Settings::builder().toml("[relay]\nbathc = 500")?.build().unwrap_err();
/// assert_eq!(
///     typo.to_string(),
///     "bento.toml:2: unknown key `relay.bathc`; did you mean `relay.batch`?"
/// );
/// # Ok::<_, bento::settings::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// The name of the application, which its outbox records: [`relay`](Self::relay) refuses the
    /// outbox of another one. Without it, whatever is recorded is accepted. Default none.
    pub application: Option<String>,
    /// The publisher of events while no rule says otherwise: the name of one in `publishers`, or
    /// `console`, or `memory`. Default `console`, as long as no other is configured.
    pub publisher: String,
    /// The settings of the relay.
    pub relay: RelaySettings,
    /// The rules by which events are routed; without them all go to `publisher`. A destination that
    /// names no publisher is served by the one of its own name, or else by `publisher`.
    pub router: Option<RouterConfig>,
    /// The publishers, by name.
    pub publishers: BTreeMap<String, PublisherSettings>,
    /// The settings of handlers, by name; they are for
    /// [`Handlers::settings`](bento_handlers::Handlers::settings).
    #[cfg(feature = "handlers")]
    pub handlers: BTreeMap<String, HandlerSettings>,
    /// The settings of projections, by name; they are for
    /// [`Handlers::projection_settings`](bento_handlers::Handlers::projection_settings).
    #[cfg(feature = "handlers")]
    pub projections: BTreeMap<String, ProjectionSettings>,
    /// The settings of the consumer.
    #[cfg(feature = "handlers")]
    pub consumer: ConsumerSettings,
    /// The sources of the consumer, by name.
    #[cfg(feature = "handlers")]
    pub sources: BTreeMap<String, ConfiguredSource>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            application: None,
            publisher: "console".to_owned(),
            relay: RelaySettings::default(),
            router: None,
            publishers: BTreeMap::new(),
            #[cfg(feature = "handlers")]
            handlers: BTreeMap::new(),
            #[cfg(feature = "handlers")]
            projections: BTreeMap::new(),
            #[cfg(feature = "handlers")]
            consumer: ConsumerSettings::default(),
            #[cfg(feature = "handlers")]
            sources: BTreeMap::new(),
        }
    }
}

/// A publisher that is configured cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the publisher `{name}` of kind `{kind}` cannot be used")]
#[non_exhaustive]
pub struct PublisherError {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// The cause.
    #[source]
    pub source: ConnectError,
}

/// A source that is configured cannot be made.
#[cfg(feature = "handlers")]
#[derive(Debug, thiserror::Error)]
#[error("the source `{name}` of kind `{kind}` cannot be used")]
#[non_exhaustive]
pub struct UnusableSource {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// The cause.
    #[source]
    pub source: ConnectError,
}

/// A relay could not be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// A publisher cannot be made.
    #[error(transparent)]
    Publisher(#[from] PublisherError),
    /// The rules are wrong.
    #[error(transparent)]
    Router(#[from] RouterErrors),
}

impl Settings {
    /// The file and the variables to read.
    pub fn builder() -> SettingsBuilder {
        SettingsBuilder::default()
    }

    /// The settings of the process: the file that `BENTO_CONFIG` names, else `bento.toml` in the
    /// working directory if that is there, below the environment.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load() -> Result<Self, ConfigError> {
        let builder = match std::env::var_os("BENTO_CONFIG").filter(|path| !path.is_empty()) {
            Some(path) => Self::builder().file(Path::new(&path))?,
            None if Path::new("bento.toml").exists() => Self::builder().file("bento.toml")?,
            None => Self::builder(),
        };
        builder.env()?.build()
    }

    /// Makes every publisher that an event can go to; those that are configured and not used are
    /// left alone. No broker is asked: each publisher connects by its first event, and goes on
    /// trying while its broker is away.
    ///
    /// # Errors
    /// The first whose settings can never be used, and why: a malformed URL, an empty password, a
    /// file that cannot be read and the like.
    pub fn build_publishers(&self) -> Result<Publishers, PublisherError> {
        let mut publishers = Publishers::new();
        for (name, settings) in self.used() {
            let kind = settings.kind();
            match settings.publisher() {
                Ok(publisher) => publishers = publishers.with(name, publisher),
                Err(source) => return Err(PublisherError { name, kind, source }),
            }
        }
        Ok(publishers)
    }

    /// Makes the publishers and puts a relay from `store` to them together. A broker that is away
    /// keeps nothing from starting: events for it wait, the others are published, and the relay's
    /// [health](bento_relay::Health) names it.
    ///
    /// ```
    /// # use bento::MemoryStore;
    /// # use bento::Settings;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = MemoryStore::default();
    /// # let settings = Settings::builder().build()?;
    /// let relay = settings.relay(store)?.start()?;
    /// // … the application runs …
    /// relay.stop().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The first publisher whose settings can never be used, and why; or rules that were changed
    /// since they were read and are wrong.
    pub fn relay<S: RelayStore>(
        &self,
        store: S,
    ) -> Result<RelayBuilder<S, Publishers>, SetupError> {
        self.relay_to(store, self.build_publishers()?)
    }

    /// Puts a relay together as [`relay`](Self::relay) does, with handlers beside the publishers:
    /// what [`Handlers::build`](crate::handlers::Handlers::build) returns.
    ///
    /// # Errors
    /// As [`relay`](Self::relay).
    #[cfg(feature = "handlers")]
    pub fn relay_with_handlers<S: RelayStore>(
        &self,
        store: S,
        dispatcher: crate::handlers::Dispatcher,
    ) -> Result<RelayBuilder<S, Publishers>, SetupError> {
        let publishers = self.build_publishers()?;
        self.relay_to(store, publishers.with_handlers(dispatcher))
    }

    /// Puts a consumer together: the configured sources, and the handlers that get what they
    /// receive. Events that name the `source` of the default publisher are this service's own, as
    /// long as `consumer.own_origin` names none.
    ///
    /// ```
    /// # use bento::{Inbox, Settings, handlers::{ConsumerError, Dispatcher}};
    /// # async fn start(settings: &Settings, inbox: Inbox, handlers: Dispatcher)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// let consumer = settings.consumer(inbox, handlers)?.start().await?;
    /// // … the application runs …
    /// consumer.stop().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The first source whose settings can never be used, and why. No broker is asked.
    #[cfg(feature = "handlers")]
    pub fn consumer(
        &self,
        inbox: bento_seaorm::Inbox,
        handlers: crate::handlers::Dispatcher,
    ) -> Result<crate::handlers::consumer::ConsumerBuilder, UnusableSource> {
        self.consumer_reading(inbox, handlers, |_| {
            bento_brokers::message::Reading::default()
        })
    }

    /// Puts a consumer together as [`consumer`](Self::consumer) does, with the reading of foreign
    /// messages that `reading` returns for the name of each source.
    ///
    /// # Errors
    /// As [`consumer`](Self::consumer).
    #[cfg(feature = "handlers")]
    pub fn consumer_reading(
        &self,
        inbox: bento_seaorm::Inbox,
        handlers: crate::handlers::Dispatcher,
        reading: impl Fn(&str) -> bento_brokers::message::Reading,
    ) -> Result<crate::handlers::consumer::ConsumerBuilder, UnusableSource> {
        let mut settings = self.consumer.clone();
        if settings.own_origin.is_none() {
            let publisher = self.publishers.get(&self.publisher);
            settings.own_origin = publisher.and_then(PublisherSettings::origin);
        }
        let mut consumer = crate::handlers::Consumer::builder(inbox, handlers)
            .settings(settings)
            .relay(self.relay.clone());
        for (name, configured) in &self.sources {
            consumer = configured.add_to(consumer, name, reading(name))?;
        }
        Ok(consumer)
    }

    fn relay_to<S: RelayStore>(
        &self,
        store: S,
        publishers: Publishers,
    ) -> Result<RelayBuilder<S, Publishers>, SetupError> {
        let router = self.router()?;
        let store = match &self.application {
            Some(application) => store.named(application),
            None => store,
        };
        Ok(Relay::builder(store, publishers)
            .router(router)
            .settings(self.relay.clone()))
    }

    /// The publishers and the router: the destinations of events.
    ///
    /// # Errors
    /// Rules that were changed since they were read and are wrong.
    pub fn router(&self) -> Result<Router, RouterErrors> {
        match &self.router {
            Some(config) => router::with_publishers(config, self).build(),
            None => Ok(Router::to(
                Destination::default().via(self.publisher.as_str()),
            )),
        }
    }

    /// The publishers that events can go to, by name.
    fn used(&self) -> impl Iterator<Item = (String, PublisherSettings)> {
        let names: BTreeSet<String> = self
            .destinations()
            .into_iter()
            .map(|(_, publisher)| publisher)
            .collect();
        names.into_iter().filter_map(|name| {
            let configured = self.publishers.get(&name).cloned();
            let settings = configured.or_else(|| PublisherSettings::without_section(&name))?;
            Some((name, settings))
        })
    }

    /// The destinations with the names of their publishers. Without rules there is one, which has
    /// no name.
    fn destinations(&self) -> Vec<(String, String)> {
        let Some(config) = &self.router else {
            return vec![(String::new(), self.publisher.clone())];
        };
        let destinations = router::with_publishers(config, self).destinations;
        let named = |destination: &Destination| {
            (
                destination.name.to_string(),
                destination.publisher().to_owned(),
            )
        };
        destinations.iter().map(named).collect()
    }
}
