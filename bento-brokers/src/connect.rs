//! Connections to brokers: when they are made, and why one could not be made.

use std::error::Error;

#[cfg(feature = "_batch")]
use bento_relay::publish::{Delivery, PublishError};

#[cfg(feature = "_link")]
mod lazy;

#[cfg(feature = "_link")]
pub(crate) use self::lazy::{Lazy, Link};

/// A publisher could not be made, or could not be connected to its broker. It shows no password.
///
/// Making a publisher answers [`Settings`](Self::Settings) alone: it asks no broker. The others
/// come out of a publisher's `check`, and are the source of the
/// [unavailable](bento_relay::publish::FailureClass::Unavailable) answers of `publish`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The settings contradict themselves or cannot be read.
    #[error("{what}")]
    Settings {
        /// The fault and its rule.
        what: String,
        /// The fault that was found.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// No server answers there, or not in the broker's protocol.
    #[error("no connection to {address}")]
    Unreachable {
        /// Host and port, several if there are several servers.
        address: String,
        /// The error of the client.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The broker does not accept the credentials.
    #[error("{address} does not accept the credentials")]
    Credentials {
        /// Host and port, several if there are several servers.
        address: String,
        /// The error of the client.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The broker is there, and what the settings expect of it is not.
    #[error("{address}: {what}")]
    Unfit {
        /// Host and port, several if there are several servers.
        address: String,
        /// The missing thing.
        what: String,
        /// The error of the client.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
}

#[cfg(feature = "_broker")]
impl ConnectError {
    /// Settings that cannot be used.
    pub(crate) fn settings(what: impl Into<String>) -> Self {
        Self::Settings {
            what: what.into(),
            source: None,
        }
    }
}

/// The answers to a batch of which nothing could be sent.
#[cfg(feature = "_batch")]
pub(crate) fn unavailable(
    batch: &[Delivery],
    error: &PublishError,
) -> Vec<Result<(), PublishError>> {
    let why = error.chain();
    batch
        .iter()
        .map(|_| Err(PublishError::unavailable(why.clone())))
        .collect()
}
