//! Messages of a Redis stream.
//!
//! [`RedisSource`] reads one stream, entry by entry, and keeps its place in a consumer group.
//!
//! ```no_run
//! use bento_brokers::redis::{RedisSource, RedisSourceSettings};
//!
//! # fn source() -> Result<RedisSource, bento_brokers::ConnectError> {
//! let source = RedisSource::new(RedisSourceSettings {
//!     stream: "shop:order.created".to_owned(),
//!     group: Some("stock".to_owned()),
//!     ..RedisSourceSettings::default()
//! })?;
//! # Ok(source) }
//! ```
//!
//! # The group
//!
//! The group is the source's own, and is made if it is not there. It shows how far the source is:
//! its last delivered id is the last entry that was acknowledged, so `XINFO GROUPS` tells the lag,
//! and what trims a stream up to its groups keeps what is not acknowledged.
//!
//! The source does not read by `XREADGROUP`. A process that lost the lease while its call waits
//! at the server would be given an entry still, and the group would give it to no other reader. So
//! the source reads by `XREAD` behind its own place, which takes nothing from another reader, and
//! moves the group when it acknowledges.
//!
//! * With a stored cursor the source begins behind it, wherever the group is: after a crash between
//!   the commit and the acknowledgement, after the restore of a backup, and after a failover that
//!   has lost the group. What is pending in the group is then acknowledged: it is stored, or comes
//!   again.
//! * Without one it begins where the group is. Entries that other consumers of a group made by hand
//!   have left pending come first, in the order of the stream, whichever consumer they belong to.
//!   An entry of them that was deleted in the meantime is acknowledged, and a warning counts them.
//!
//! # What Redis guarantees
//!
//! * **Order**: that of the stream.
//! * **Redelivery**: everything behind the cursor, in order.
//! * **Retention**: a stream keeps its entries until it is trimmed. Entries that were trimmed
//!   before they were read are lost; since Redis 7 a warning counts them. The source deletes
//!   nothing.
//! * **Durability**: see the [publisher](super). After a failover the stream may lack its last
//!   entries. A cursor that is ahead of the stream counts for nothing: the source begins where the
//!   group is, and the inbox knows the entries that it has by their ids.
//! * **Time**: the id of an entry begins with the time at which Redis added it, unless its sender
//!   gave it an id of its own: `sent_at` is that time if it is not before 2010 and not in the
//!   future.
//! * **A stream made anew**: Redis has no mark of it. Its ids begin with the time, so the entries
//!   of the new stream are behind the cursor of the old one. Ids that senders give themselves can
//!   be smaller: the source begins at the first entry if its place is ahead of the stream. A stream
//!   whose ids begin lower, and that has passed the place before the source looks, cannot be told.
//!
//! # An entry
//!
//! The body of a message is the field `data`, as the [publisher](super) writes it, else `payload`,
//! `body`, `message` or `value`; without any of them it is empty. Every other field is a header, so
//! that a mapping can read entries of any shape. The content type is the header `content-type`.
//!
//! # Memory
//!
//! Redis bounds an answer by its number of entries alone. The source asks for as many as fit into
//! the bytes that it may return, by the largest entry of the last answer, and keeps what is too
//! much.
//!
//! # Rights
//!
//! `+ping +xread +xrange +xinfo +xpending +xack +xgroup` for the key of the stream.
//!
//! # Failures
//!
//! | what happens | answer |
//! |---|---|
//! | no connection, no answer in time, a server that loads, a replica | unavailable |
//! | the stream was deleted, or the group destroyed, while it was read | unavailable at the next acknowledgement; the group is made again |
//! | the stream is not there, and `create` is not set | refused |
//! | the key holds something else than a stream (`WRONGTYPE`) | refused |
//! | a wrong password, a missing permission (`NOAUTH`, `NOPERM`), a node of a cluster that has not the key (`MOVED`) | refused |

use std::fmt;

use bento_relay::source::{Resume, Source, SourceError};
use redis::RedisError;

mod commands;
mod entry;
mod settings;
mod subscription;

pub use self::settings::{RedisSourceSettings, RedisStart};
pub use self::subscription::RedisSubscription;
use super::link;
use crate::ConnectError;
use crate::message::Reading;

/// A Redis stream. See the [module](self).
pub struct RedisSource {
    settings: RedisSourceSettings,
    reading: Reading,
}

impl RedisSource {
    /// Checks the settings. No server is asked before the first subscription.
    ///
    /// # Errors
    /// [`ConnectError::Settings`] for settings that cannot be used.
    pub fn new(settings: RedisSourceSettings) -> Result<Self, ConnectError> {
        settings.check()?;
        Ok(Self {
            settings,
            reading: Reading::default(),
        })
    }

    /// Sets how messages are read that carry no event of Bento's and no CloudEvent.
    #[must_use]
    pub fn reading(self, reading: Reading) -> Self {
        Self { reading, ..self }
    }
}

impl Source for RedisSource {
    type Subscription = RedisSubscription;

    async fn subscribe(&self, resume: Resume) -> Result<RedisSubscription, SourceError> {
        let connected = link::connect(&self.settings.connection()).await;
        let connection = connected.map_err(|error| {
            let text = bento_core::report::with_causes(&error);
            match error {
                ConnectError::Unreachable { .. } => SourceError::unavailable(text),
                _ => SourceError::refused(text),
            }
        })?;
        RedisSubscription::open(connection, &self.settings, resume, self.reading.clone()).await
    }
}

/// The meaning of an error of a command.
fn failure(stream: &str, error: RedisError) -> SourceError {
    let text = match error.code() {
        Some("WRONGTYPE") => format!(
            "the key `{stream}` of Redis does not hold a stream: name another one with `stream`"
        ),
        Some("NOPERM") => format!(
            "the user of Redis may not read the stream `{stream}`: grant `~{stream} +ping +xread \
             +xrange +xinfo +xpending +xack +xgroup`"
        ),
        Some("NOAUTH" | "WRONGPASS") => {
            "Redis does not accept the credentials: set `user` and `password`".to_owned()
        }
        Some("MOVED") => format!(
            "the stream `{stream}` is on another node of the cluster: name that node, or what \
             stands before the cluster, with `url`"
        ),
        _ => {
            return SourceError::unavailable(format!("Redis could not read the stream `{stream}`"))
                .because(error);
        }
    };
    SourceError::refused(text).because(error)
}

impl fmt::Debug for RedisSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSource")
            .field("settings", &self.settings)
            .field("reading", &self.reading)
            .finish()
    }
}
