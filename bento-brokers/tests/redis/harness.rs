//! Streams with a prefix of their own for each rule.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bento_brokers::ConnectError;
use bento_brokers::message::{Format, MessageSettings};
use bento_brokers::redis::{RedisPublisher, RedisSettings};
use bento_testkit::publisher::{Mode, PublisherHarness, Received, Traits, WRONG_PASSWORD, Wire};
use redis::aio::MultiplexedConnection;
use redis::streams::StreamRangeReply;
use redis::{AsyncCommands as _, AsyncConnectionConfig};

use super::support::{PrivateServer, unique, url};

const TOO_LARGE: usize = 1_000_000;

pub(crate) struct Harness {
    url: String,
    /// The beginning of the key of its stream.
    pub(crate) prefix: String,
    server: Option<PrivateServer>,
}

impl Harness {
    pub(crate) async fn on_the_shared_server() -> Option<Self> {
        Some(Self::new(url("BENTO_TEST_REDIS_URL")?, None))
    }

    fn new(url: String, server: Option<PrivateServer>) -> Self {
        Self {
            url,
            prefix: format!("{}:", unique("bento-test")),
            server,
        }
    }

    pub(crate) fn settings(&self) -> RedisSettings {
        RedisSettings {
            url: self.url.as_str().into(),
            prefix: self.prefix.clone(),
            timeout: Duration::from_secs(2),
            max_message_bytes: TOO_LARGE,
            ..RedisSettings::default()
        }
    }

    pub(crate) fn key(&self) -> String {
        format!("{}events", self.prefix)
    }

    pub(crate) async fn connection(&self) -> MultiplexedConnection {
        // The default is half a second, which reading a long stream may take.
        let config =
            AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(30)));
        let client = redis::Client::open(&*self.url).unwrap();
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .unwrap()
    }
}

/// A server that syncs its log in `directory` before it answers. With `everysec` a killed one has
/// lost confirmed entries here.
pub(crate) fn redis_server(port: u16, directory: &Path, further: &[&str]) -> Command {
    let mut command = Command::new("redis-server");
    command.args([
        "--bind",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--save",
        "",
        "--dir",
    ]);
    command
        .arg(directory)
        .args(["--appendonly", "yes", "--appendfsync", "always"])
        .args(further);
    command
}

impl PublisherHarness for Harness {
    type Publisher = RedisPublisher;

    fn traits(&self) -> Traits {
        Traits {
            wire: Some(Wire {
                prefix: "ce-",
                is_encoded: false,
            }),
            deduplicates: false,
            has_keys: false,
            too_large: Some(TOO_LARGE),
            answers_within: Duration::from_secs(8),
        }
    }

    async fn publisher(&self, mode: Mode) -> RedisPublisher {
        let format = match mode {
            Mode::Binary => Format::Binary,
            Mode::Structured => Format::Structured,
            Mode::Plain => Format::Plain,
        };
        let message = MessageSettings {
            format,
            ..MessageSettings::default()
        };
        RedisPublisher::new(RedisSettings {
            message,
            ..self.settings()
        })
        .unwrap()
    }

    fn topic(&self) -> &str {
        "events"
    }

    async fn received(&self, at_least: usize) -> Vec<Received> {
        // What is confirmed is there.
        let entries: StreamRangeReply = self
            .connection()
            .await
            .xrange_all(self.key())
            .await
            .unwrap();
        assert!(
            entries.ids.len() >= at_least,
            "{} of {at_least} events are in the stream",
            entries.ids.len()
        );
        let read = |(name, value): (&String, &redis::Value)| {
            (
                name.clone(),
                redis::from_redis_value_ref::<Vec<u8>>(value).unwrap(),
            )
        };
        let entries = entries.ids.iter().map(|entry| {
            let (body, headers): (Vec<_>, Vec<_>) = entry
                .map
                .iter()
                .map(read)
                .partition(|(name, _)| name == "data");
            let text = |(name, value)| (name, String::from_utf8(value).unwrap());
            let (_, body) = body.into_iter().next().unwrap();
            let headers = headers.into_iter().map(text).collect();
            Received {
                topic: "events".to_owned(),
                key: None,
                headers,
                body: body.into(),
            }
        });
        entries.collect()
    }

    async fn wrong_credentials(&self) -> Option<Box<dyn Error>> {
        let server = PrivateServer::start_new(|port, directory| {
            redis_server(port, directory, &["--requirepass", "right"])
        })?;
        let at = |password: Option<&str>| RedisSettings {
            url: format!("redis://127.0.0.1:{}", server.port).as_str().into(),
            password: password.map(Into::into),
            ..RedisSettings::default()
        };
        let nobody = RedisPublisher::new(at(None))
            .unwrap()
            .check()
            .await
            .unwrap_err();
        assert!(
            matches!(nobody, ConnectError::Credentials { .. }),
            "{nobody:?}"
        );
        let error = RedisPublisher::new(at(Some(WRONG_PASSWORD)))
            .unwrap()
            .check()
            .await
            .unwrap_err();
        assert!(
            matches!(error, ConnectError::Credentials { .. }),
            "{error:?}"
        );
        Some(Box::new(error))
    }

    async fn refused(&self, address: &str) -> Option<Box<dyn Error>> {
        let url = format!("redis://relay:{WRONG_PASSWORD}@{address}")
            .as_str()
            .into();
        let error = RedisPublisher::new(RedisSettings {
            url,
            ..self.settings()
        })
        .unwrap()
        .check()
        .await
        .unwrap_err();
        assert!(
            matches!(error, ConnectError::Unreachable { .. }),
            "{error:?}"
        );
        Some(Box::new(error))
    }

    async fn private(&self) -> Option<Self> {
        let server =
            PrivateServer::start_new(|port, directory| redis_server(port, directory, &[]))?;
        Some(Self::new(
            format!("redis://127.0.0.1:{}", server.port),
            Some(server),
        ))
    }

    async fn stop(&self) {
        self.server.as_ref().unwrap().kill();
    }

    async fn start(&self) {
        assert!(self.server.as_ref().unwrap().start());
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        if self.server.is_none() {
            let drop = async { self.connection().await.del::<_, ()>(self.key()).await };
            let _ =
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(drop));
        }
    }
}
