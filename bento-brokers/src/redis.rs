//! Redis Streams.
//!
//! Each topic is a stream, its key behind [`RedisSettings::prefix`]; Redis makes it with its first
//! entry. A batch is one round trip of `XADD` commands.
//!
//! ```no_run
//! use bento_brokers::redis::{RedisPublisher, RedisSettings};
//!
//! # fn publisher() -> Result<RedisPublisher, bento_brokers::ConnectError> {
//! let publisher = RedisPublisher::new(RedisSettings {
//!     prefix: "shop:".to_owned(),
//!     ..RedisSettings::default()
//! })?;
//! # Ok(publisher) }
//! ```
//!
//! # An entry
//!
//! CloudEvents has no binding for Redis. The fields of an entry are the headers, the attributes
//! among them as `ce-…`, unencoded; then `content-type`; then `data`, the body.
//! [`message`](crate::message) says which headers there are. The id of the entry is Redis' own,
//! `*`.
//!
//! # What Redis guarantees
//!
//! * **Order**: a stream keeps the order in which it took the entries. What a batch has of one
//!   aggregate for one stream is one transaction (`MULTI`, `EXEC`): all of it is added, or nothing.
//!   Where the user may not run transactions, and for another stream, the next event of an
//!   aggregate is sent when the one before it is confirmed.
//! * **Deduplication**: none. An event that is published again, after an answer was lost for
//!   instance, is a second entry: consumers recognise it by `ce-id`. Redis 8.6 knows repeated
//!   entries (`XADD … IDMP`); this publisher does not use it.
//! * **Durability**: an answer says that the entry is in memory. With `appendonly yes` and
//!   `appendfsync always` it is on disk as well. With `appendfsync everysec`, the default, a power
//!   failure loses confirmed entries of about a second, and so does a killed process: a write is
//!   put off, up to two seconds, while the last sync runs (the outage test of this crate saw it).
//!   Without `appendonly` everything since the last snapshot goes. Replication is asynchronous: a
//!   failover loses confirmed entries that the replica did not have, `min-replicas-to-write`
//!   notwithstanding.
//! * **Trimming**: with [`RedisSettings::max_len`] a consumer that falls behind loses what was
//!   trimmed. The server does not tell it.
//! * **Zombies**: a relay that was thought dead may still publish what it had begun; nothing fences
//!   it.
//!
//! # Failures
//!
//! | what happens | class |
//! |---|---|
//! | no connection, no answer in time, a server that loads, a replica, a wrong password, a missing permission | unavailable |
//! | the key holds something else than a stream (`WRONGTYPE`) | unavailable |
//! | out of memory (`OOM`) | throttled, 1 s |
//! | larger than [`RedisSettings::max_message_bytes`] | permanent |
//! | any other error of a command (`ERR`) | transient |
//!
//! A missing permission (`NOPERM`) does not give events up: an operator grants it, and they go
//! on.
//!
//! The first event connects, and the next one after the connection was lost. While no server
//! answers, attempts have a pause between them that grows from 0.1 s to 5 s.

use std::fmt;
use std::time::Duration;

use bento_relay::publish::{Delivery, Destination, PublishError, Publisher};
use redis::{Cmd, Pipeline, RedisError};

mod chain;
mod link;
mod settings;
pub mod source;

use self::chain::{Chains, Reply};
use self::link::Link;
pub use self::settings::RedisSettings;
pub use self::source::{RedisSource, RedisSourceSettings, RedisStart, RedisSubscription};
use crate::ConnectError;
use crate::connect::Lazy;
use crate::message::{Binding, Message};
use crate::patience::patience;

/// A server without memory stays so until an operator makes room.
const FULL: Duration = Duration::from_secs(1);

/// Publishes to Redis Streams. See the [module](self).
pub struct RedisPublisher {
    connection: Lazy<Link>,
}

type Answer = Result<(), PublishError>;

impl RedisPublisher {
    /// Checks the settings. No server is asked before the first event, which connects; so does each
    /// one after it until that succeeds.
    ///
    /// # Errors
    /// [`ConnectError::Settings`] for settings that cannot be used.
    pub fn new(settings: RedisSettings) -> Result<Self, ConnectError> {
        crate::tls::check(&settings.tls)?;
        link::client(&settings)?;
        Ok(Self {
            connection: Lazy::new(settings),
        })
    }

    /// Connects now, for a program that is to end at once if that fails, and asks for a sign of
    /// life.
    ///
    /// # Errors
    /// The server does not answer, or it does not accept the credentials. A later call may succeed.
    ///
    /// # Cancel safety
    /// The attempt is given up, and what was connected is closed in the background.
    pub async fn check(&self) -> Result<(), ConnectError> {
        self.connection.check().await.map(drop)
    }

    fn settings(&self) -> &RedisSettings {
        self.connection.settings()
    }

    /// The command for a delivery.
    fn command(&self, delivery: &Delivery) -> Result<Cmd, PublishError> {
        let settings = self.settings();
        let message = settings.message.message(delivery, &Binding::REDIS)?;
        let (size, limit) = (message.size(), settings.max_message_bytes);
        if size > limit {
            return Err(PublishError::permanent(format!(
                "the message has {size} bytes, more than the {limit} allowed"
            )));
        }
        let Message {
            headers,
            content_type,
            body,
        } = message;
        let mut command = redis::cmd("XADD");
        command.arg(format!("{}{}", settings.prefix, delivery.topic()));
        if let Some(entries) = settings.max_len {
            command.arg("MAXLEN").arg("~").arg(entries);
        }
        command.arg("*");
        for (name, value) in &headers {
            command.arg(&**name).arg(&**value);
        }
        if let Some(content_type) = content_type {
            command.arg("content-type").arg(content_type);
        }
        command.arg("data").arg(&*body);
        Ok(command)
    }

    /// Sends the commands of a round trip.
    async fn send(&self, link: &Link, commands: &Pipeline) -> Result<Vec<Reply>, PublishError> {
        let replies = commands.query_async(&mut link.connection()).await;
        replies.map_err(|error| {
            link.forget();
            self.unconfirmed(error)
        })
    }

    /// Sends what can be sent. A failure of the connection is that of everything without an answer.
    async fn send_all(&self, chains: &mut Chains<'_>) -> Result<(), PublishError> {
        let link = self.connection.link().await?;
        while let Some(round) =
            chains.next_round(link.has_transactions(), |delivery| self.command(delivery))
        {
            let replies = self.send(&link, &round.commands).await?;
            chains.reply(round, replies, || {
                self.unconfirmed("Redis sent no answer for it")
            });
        }
        Ok(())
    }

    fn unconfirmed(&self, error: impl fmt::Display) -> PublishError {
        let address = self.settings().url.address();
        PublishError::unavailable(format!(
            "Redis at {address} did not confirm the event: {error}"
        ))
    }
}

impl Publisher for RedisPublisher {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Answer> {
        let mut chains = Chains::new(batch);
        let settings = self.settings();
        let limit = patience(batch, settings.connect_timeout + settings.timeout);
        let sent = tokio::time::timeout(limit, self.send_all(&mut chains)).await;
        let error = sent
            .unwrap_or_else(|elapsed| Err(self.unconfirmed(elapsed)))
            .err();
        chains.into_answers(error.as_ref())
    }

    /// Several events of an aggregate travel in one transaction: all of it for one stream is added,
    /// or nothing.
    fn chains(&self, _destination: &Destination) -> bool {
        true
    }
}

/// The meaning of the refusal of one entry.
fn failure(error: RedisError) -> PublishError {
    let text = format!("Redis did not take the event: {error}");
    match error.code() {
        Some("OOM") => PublishError::throttled(text, FULL),
        Some("ERR") => PublishError::transient(text),
        _ => PublishError::unavailable(text),
    }
}

impl fmt::Debug for RedisPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisPublisher")
            .field("settings", self.settings())
            .finish_non_exhaustive()
    }
}
