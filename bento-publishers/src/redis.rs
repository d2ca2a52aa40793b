//! Redis Streams.
//!
//! Each topic is a stream, its key behind [`RedisSettings::prefix`]; Redis makes it with its first entry. A batch is one round trip of `XADD`
//! commands, each with its own answer.
//!
//! ```no_run
//! use bento_publishers::redis::{RedisPublisher, RedisSettings};
//!
//! # fn publisher() -> Result<RedisPublisher, bento_publishers::ConnectError> {
//! let publisher = RedisPublisher::new(RedisSettings { prefix: "shop:".to_owned(), ..RedisSettings::default() })?;
//! # Ok(publisher) }
//! ```
//!
//! # An entry
//!
//! CloudEvents has no binding for Redis. The fields of an entry are the headers, the attributes among them as `ce-…`, unencoded; then `content-type`;
//! then `data`, the body. [`message`](crate::message) says which headers there are. The id of the entry is Redis' own, `*`.
//!
//! # What Redis guarantees
//!
//! * **Order**: a stream keeps the order in which it took the entries. The relay hands over the next event of an aggregate when the one before it
//!   is confirmed, so an aggregate is in order in its stream.
//! * **Deduplication**: none. An event that is published again, after an answer was lost for instance, is a second entry: consumers recognise
//!   it by `ce-id`. Redis 8.6 knows repeated entries (`XADD … IDMP`); this publisher does not use it.
//! * **Durability**: an answer says that the entry is in memory. With `appendonly yes` and `appendfsync always` it is on disk as well. With
//!   `appendfsync everysec`, the default, a power failure loses confirmed entries of about a second, and so does a killed process: a write is put
//!   off, up to two seconds, while the last sync runs (the outage test of this crate saw it). Without `appendonly` everything since the last
//!   snapshot goes. Replication is asynchronous: a failover loses confirmed entries that the replica did not have, `min-replicas-to-write` notwithstanding.
//! * **Trimming**: with [`RedisSettings::max_len`] a consumer that falls behind loses what was trimmed. Nobody tells it.
//! * **Zombies**: a relay that was thought dead may still publish what it had begun; nothing fences it.
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
//! A missing permission (`NOPERM`) is no reason to give events up: somebody grants it, and they go on.
//!
//! The first event connects, and the next one after the connection was lost. While nobody answers, attempts have a pause between them that grows from
//! 0.1 s to 5 s.

use std::fmt;
use std::time::Duration;

use bento_core::publish::{Delivery, PublishError, Publisher};
use redis::{Cmd, Pipeline, RedisError, Value};

mod link;
mod settings;

use self::link::Link;
pub use self::settings::RedisSettings;
use crate::ConnectError;
use crate::connect::Lazy;
use crate::message::{Binding, Message};
use crate::patience::patience;

/// A server without memory stays so until somebody makes room.
const FULL: Duration = Duration::from_secs(1);

/// Publishes to Redis Streams. See the [module](self).
pub struct RedisPublisher {
    connection: Lazy<Link>,
}

type Answer = Result<(), PublishError>;

impl RedisPublisher {
    /// Checks the settings. Nobody is asked before the first event: it connects, and so does each one after it until that succeeds.
    ///
    /// # Errors
    /// When the settings cannot be used: [`ConnectError::Settings`].
    pub fn new(settings: RedisSettings) -> Result<Self, ConnectError> {
        link::client(&settings)?;
        Ok(Self { connection: Lazy::new(settings) })
    }

    /// Connects now, for a program that is to end at once if that fails, and asks for a sign of life.
    ///
    /// # Errors
    /// When nobody answers, or the credentials are not accepted. A later call may succeed.
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
        let Message { headers, content_type, body } = message;
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

    /// Sends the commands in one round trip. There is one answer for each, or one failure for all.
    async fn send(&self, commands: &Pipeline) -> Result<Vec<Result<Value, RedisError>>, PublishError> {
        let link = self.connection.link().await?;
        let answers = commands.query_async(&mut link.connection()).await;
        answers.map_err(|error| {
            link.forget();
            self.unconfirmed(error)
        })
    }

    fn unconfirmed(&self, error: impl fmt::Display) -> PublishError {
        let address = self.settings().url.address();
        PublishError::unavailable(format!("Redis at {address} did not confirm the event: {error}"))
    }
}

impl Publisher for RedisPublisher {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Answer> {
        let mut commands = Pipeline::with_capacity(batch.len());
        commands.ignore_errors();
        let mut answers: Vec<Option<Answer>> = Vec::with_capacity(batch.len());
        for delivery in batch {
            answers.push(match self.command(delivery) {
                Ok(command) => {
                    commands.add_command(command);
                    None
                }
                Err(error) => Some(Err(error)),
            });
        }
        if commands.is_empty() {
            return answers.into_iter().flatten().collect();
        }
        let settings = self.settings();
        let limit = patience(batch, settings.connect_timeout + settings.timeout);
        let sent = tokio::time::timeout(limit, self.send(&commands)).await;
        let sent = sent.unwrap_or_else(|elapsed| Err(self.unconfirmed(elapsed)));
        let mut sent = match sent {
            Ok(sent) => Ok(sent.into_iter()),
            Err(error) => Err(error.chain()),
        };
        let mut next = || match &mut sent {
            Ok(sent) => match sent.next() {
                Some(answer) => answer.map(|_| ()).map_err(failure),
                None => Err(self.unconfirmed("there is no answer for it")),
            },
            Err(text) => Err(PublishError::unavailable(text.clone())),
        };
        answers.into_iter().map(|answer| answer.unwrap_or_else(&mut next)).collect()
    }
}

/// What the refusal of one entry means.
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
        f.debug_struct("RedisPublisher").field("settings", self.settings()).finish_non_exhaustive()
    }
}
