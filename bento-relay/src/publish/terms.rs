//! The terms on which a relay calls its publisher.

use std::time::Duration;

/// The terms on which a relay calls its publisher, said once before its first call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayTerms {
    /// The time for which a shard is leased; see [`RelaySettings::lease`](crate::RelaySettings).
    pub lease: Duration,
    /// The time for one call, unless the publisher names another one.
    pub publish_timeout: Duration,
    /// The pool of connections that the relay's store uses; `None` for a store without one.
    pub pool: Option<PoolId>,
}

impl RelayTerms {
    /// The terms of a relay with this lease and this time for one call.
    pub fn new(lease: Duration, publish_timeout: Duration) -> Self {
        Self {
            lease,
            publish_timeout,
            pool: None,
        }
    }

    /// Names the pool of the store.
    #[must_use]
    pub fn with_pool(self, pool: Option<PoolId>) -> Self {
        Self { pool, ..self }
    }
}

/// The identity of a pool of connections, as long as the pool is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolId(usize);

impl PoolId {
    /// The identity of the pool that owns this value. Clones of a pool share what they own, so each
    /// of them has the same identity.
    pub fn of<T>(owned: &T) -> Self {
        Self(std::ptr::from_ref(owned).addr())
    }
}

/// The error of a publisher that cannot work on the terms of a relay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the relay cannot start with this publisher: {reason}")]
pub struct UnfitPublisher {
    reason: String,
}

impl UnfitPublisher {
    /// An error with its reason, which names the value, the rule and the way out.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
