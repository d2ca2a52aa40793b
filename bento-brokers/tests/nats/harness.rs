//! A stream of its own for each rule.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::stream::{Config, Stream};
use bento_brokers::message::{Format, MessageSettings};
use bento_brokers::nats::{NatsCredentials, NatsPublisher, NatsSettings};
use bento_testkit::publisher::{Mode, PublisherHarness, Received, Traits, WRONG_PASSWORD, Wire};

use super::support::{PrivateServer, unique, url};

#[path = "../support/streams.rs"]
mod streams;

pub(crate) struct Harness {
    pub(crate) url: String,
    /// The name of the stream, and the first token of its only subject.
    pub(crate) name: String,
    pub(crate) server: Option<PrivateServer>,
}

impl Harness {
    pub(crate) async fn on_the_shared_server() -> Option<Self> {
        Some(Self::new(url("BENTO_TEST_NATS_URL")?, None).await)
    }

    pub(crate) async fn on_a_private_server() -> Option<Self> {
        let server = PrivateServer::start_new(|port, directory| nats_server(port, directory, &[]))?;
        Some(Self::new(format!("nats://127.0.0.1:{}", server.port), Some(server)).await)
    }

    pub(crate) async fn new(url: String, server: Option<PrivateServer>) -> Self {
        let harness = Self {
            url,
            name: unique("bento-test"),
            server,
        };
        harness.make_stream(Config::default()).await;
        harness
    }

    /// Makes the stream anew, with further settings.
    pub(crate) async fn make_stream(&self, config: Config) {
        let subjects = vec![format!("{}.events", self.name)];
        let context = self.context().await;
        let _ = context.delete_stream(&self.name).await;
        let config = Config {
            name: self.name.clone(),
            subjects,
            ..config
        };
        streams::make_stream(&context, config).await;
    }

    /// The number of messages in the stream.
    pub(crate) async fn stored(&self) -> u64 {
        self.context()
            .await
            .get_stream(&self.name)
            .await
            .unwrap()
            .cached_info()
            .state
            .messages
    }

    pub(crate) async fn context(&self) -> jetstream::Context {
        jetstream::new(async_nats::connect(&self.url).await.unwrap())
    }

    pub(crate) fn settings(&self) -> NatsSettings {
        NatsSettings {
            urls: vec![self.url.as_str().into()],
            prefix: self.name.clone(),
            ack_timeout: Duration::from_secs(2),
            ..NatsSettings::default()
        }
    }
}

/// A server with JetStream that stores in `directory`.
pub(crate) fn nats_server(port: u16, directory: &Path, further: &[&str]) -> Command {
    let mut command = Command::new("nats-server");
    command.args([
        "--addr",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--jetstream",
        "--store_dir",
    ]);
    command.arg(directory).args(further);
    command
}

impl PublisherHarness for Harness {
    type Publisher = NatsPublisher;

    fn traits(&self) -> Traits {
        Traits {
            wire: Some(Wire {
                prefix: "ce-",
                is_encoded: true,
            }),
            deduplicates: true,
            has_keys: false,
            too_large: Some(1_100_000),
            answers_within: Duration::from_secs(6),
        }
    }

    async fn publisher(&self, mode: Mode) -> NatsPublisher {
        let format = match mode {
            Mode::Binary => Format::Binary,
            Mode::Structured => Format::Structured,
            Mode::Plain => Format::Plain,
        };
        let message = MessageSettings {
            format,
            ..MessageSettings::default()
        };
        NatsPublisher::new(NatsSettings {
            message,
            ..self.settings()
        })
        .unwrap()
    }

    fn topic(&self) -> &str {
        "events"
    }

    async fn received(&self, at_least: usize) -> Vec<Received> {
        let mut stream = self.context().await.get_stream(&self.name).await.unwrap();
        // What is acknowledged is stored.
        let state = stream.info().await.unwrap().state.clone();
        assert!(
            state.messages >= at_least as u64,
            "{} of {at_least} events are in the stream",
            state.messages
        );
        let mut received = Vec::new();
        for sequence in state.first_sequence..=state.last_sequence {
            received.push(self.read(&stream, sequence).await);
        }
        received
    }

    fn missing_topic(&self) -> Option<String> {
        Some("elsewhere".to_owned())
    }

    fn impossible_topic(&self) -> Option<String> {
        Some("order created.*".to_owned())
    }

    async fn wrong_credentials(&self) -> Option<Box<dyn Error>> {
        let arguments = ["--user", "relay", "--pass", "right"];
        let server = PrivateServer::start_new(move |port, directory| {
            nats_server(port, directory, &arguments)
        })?;
        let credentials = NatsCredentials::Password {
            user: "relay".to_owned(),
            password: WRONG_PASSWORD.into(),
        };
        let urls = vec![format!("nats://127.0.0.1:{}", server.port).into()];
        let settings = NatsSettings {
            urls,
            credentials: Some(credentials),
            ..self.settings()
        };
        let error = NatsPublisher::new(settings)
            .unwrap()
            .check()
            .await
            .unwrap_err();
        assert!(
            matches!(error, bento_brokers::ConnectError::Credentials { .. }),
            "{error:?}"
        );
        Some(Box::new(error))
    }

    async fn refused(&self, address: &str) -> Option<Box<dyn Error>> {
        let urls = vec![format!("nats://relay:{WRONG_PASSWORD}@{address}").into()];
        let error = NatsPublisher::new(NatsSettings {
            urls,
            ..self.settings()
        })
        .unwrap()
        .check()
        .await
        .unwrap_err();
        assert!(
            matches!(error, bento_brokers::ConnectError::Unreachable { .. }),
            "{error:?}"
        );
        Some(Box::new(error))
    }

    async fn private(&self) -> Option<Self> {
        Self::on_a_private_server().await
    }

    async fn stop(&self) {
        self.server.as_ref().unwrap().kill();
    }

    async fn start(&self) {
        assert!(self.server.as_ref().unwrap().start());
    }
}

impl Harness {
    async fn read(&self, stream: &Stream, sequence: u64) -> Received {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let mut headers = BTreeMap::new();
        for (name, values) in message.headers.iter() {
            headers.extend(
                values
                    .iter()
                    .map(|value| (name.to_string(), value.to_string())),
            );
        }
        let topic = message
            .subject
            .strip_prefix(&self.name)
            .and_then(|topic| topic.strip_prefix('.'));
        Received {
            topic: topic.unwrap().to_owned(),
            key: None,
            headers,
            body: message.payload,
        }
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        if self.server.is_none() {
            let drop = async {
                self.context()
                    .await
                    .delete_stream(&self.name)
                    .await
                    .map(|_| ())
            };
            let _ =
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(drop));
        }
    }
}
