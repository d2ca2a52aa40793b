//! Why a publisher could not be connected.

use std::error::Error;

/// A publisher could not be connected to its broker. It shows no password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The settings contradict themselves or cannot be read.
    #[error("{what}")]
    Settings {
        /// What is wrong with them.
        what: String,
        /// What found it.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Nobody answers there, or not in the broker's protocol.
    #[error("no connection to {address}")]
    Unreachable {
        /// Host and port, several if there are several servers.
        address: String,
        /// What the client says.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The broker does not accept the credentials.
    #[error("{address} does not accept the credentials")]
    Credentials {
        /// Host and port, several if there are several servers.
        address: String,
        /// What the client says.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The broker is there, and what the settings expect of it is not.
    #[error("{address}: {what}")]
    Unfit {
        /// Host and port, several if there are several servers.
        address: String,
        /// What is missing.
        what: String,
        /// What the client says.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
}

#[cfg(any(feature = "nats", feature = "rabbitmq", feature = "redis", feature = "kafka", feature = "http"))]
impl ConnectError {
    /// Settings that cannot be used.
    pub(crate) fn settings(what: impl Into<String>) -> Self {
        Self::Settings { what: what.into(), source: None }
    }
}
