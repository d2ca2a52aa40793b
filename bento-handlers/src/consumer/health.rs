//! The health of a consumer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bento_relay::Health;

/// The health of a consumer: of the relay of its inbox and of each source.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConsumerHealth {
    /// The relay of the inbox.
    pub relay: Health,
    /// The sources, by name.
    pub sources: BTreeMap<Arc<str>, SourceHealth>,
}

/// The health of one source in this process.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SourceHealth {
    /// The state of the source in this process.
    pub status: SourceStatus,
    /// The time since the last message was stored; `None` if none was yet in this process.
    pub last_stored: Option<Duration>,
    /// The messages that the broker still had for the source when it was asked last; `None` where
    /// it does not tell.
    pub lag: Option<u64>,
}

/// The state of a source in a process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceStatus {
    /// It has not yet asked.
    Starting,
    /// Another process reads the source; this one takes over when that one ends.
    Standby,
    /// It is subscribed, and receives.
    Subscribed,
    /// It is subscribed, and receives nothing more until the handlers have caught up.
    Full {
        /// The setting `max_backlog`.
        limit: u64,
    },
    /// The broker or the database cannot be reached; it is tried again.
    Unavailable {
        /// The last error, with its causes.
        error: String,
    },
    /// An operator has to repair something; it is tried again.
    Refused {
        /// The answer, and the way out.
        error: String,
    },
}

impl SourceStatus {
    /// True if the process reads the source, or another one does.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Standby | Self::Subscribed | Self::Full { .. })
    }
}

impl fmt::Display for SourceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Standby => f.write_str("another process reads it"),
            Self::Subscribed => f.write_str("subscribed"),
            Self::Full { limit } => write!(
                f,
                "the inbox holds `max_backlog` = {limit} events: the handlers do not keep up"
            ),
            Self::Unavailable { error } | Self::Refused { error } => f.write_str(error),
        }
    }
}

impl ConsumerHealth {
    /// True if the relay is ready, and each source is read by this process or by another one.
    pub fn is_ready(&self) -> bool {
        let mut sources = self.sources.values();
        self.relay.ready && sources.all(|source| source.status.is_ready())
    }

    /// True while the relay runs. A source never ends by itself.
    pub fn is_alive(&self) -> bool {
        self.relay.alive
    }

    /// The faults that are known now, each as a sentence; empty for a healthy consumer.
    pub fn faults(&self) -> Vec<String> {
        let relay = self.relay.degraded.iter().map(ToString::to_string);
        let full = |status: &SourceStatus| matches!(status, SourceStatus::Full { .. });
        let sources = self.sources.iter();
        let sources = sources
            .filter(|(_, source)| !source.status.is_ready() || full(&source.status))
            .map(|(name, source)| format!("source `{name}`: {}", source.status));
        relay.chain(sources).collect()
    }
}
