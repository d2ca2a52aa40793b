//! A receiver of its own for each rule.

use std::time::{Duration, Instant};

use bento_brokers::http::{HttpPublisher, HttpSettings};
use bento_brokers::message::{Format, MessageSettings};
use bento_testkit::publisher::{Mode, PublisherHarness, Received, Traits, Wire};

use super::receiver::Receiver;
use super::support::unique;

const PATIENCE: Duration = Duration::from_secs(10);
/// The receiver takes no more.
const LIMIT: usize = 64 * 1024;

pub(crate) struct Hook {
    receiver: Receiver,
    topic: String,
}

impl Hook {
    pub(crate) async fn new() -> Option<Self> {
        let topic = unique("bento-test");
        let path = format!("/hooks/{topic}");
        let receiver = Receiver::new(move |request| {
            let status = match request {
                request if request.path != path => 404,
                request if request.body.len() > LIMIT => 413,
                _ => 204,
            };
            Some((status, Vec::new(), String::new()))
        });
        Some(Self { receiver, topic })
    }
}

impl PublisherHarness for Hook {
    type Publisher = HttpPublisher;

    fn traits(&self) -> Traits {
        let wire = Some(Wire {
            prefix: "ce-",
            is_encoded: true,
        });
        Traits {
            wire,
            too_large: Some(LIMIT),
            ..Traits::default()
        }
    }

    async fn publisher(&self, mode: Mode) -> HttpPublisher {
        let format = match mode {
            Mode::Binary => Format::Binary,
            Mode::Structured => Format::Structured,
            Mode::Plain => Format::Plain,
        };
        let settings = HttpSettings {
            url: Some(
                format!("http://127.0.0.1:{}/hooks/{{topic}}", self.receiver.port)
                    .as_str()
                    .into(),
            ),
            allow_http: true,
            timeout: Duration::from_secs(5),
            message: MessageSettings {
                format,
                ..MessageSettings::default()
            },
            ..HttpSettings::default()
        };
        HttpPublisher::new(settings).unwrap()
    }

    fn topic(&self) -> &str {
        &self.topic
    }

    async fn received(&self, at_least: usize) -> Vec<Received> {
        let begun = Instant::now();
        loop {
            let taken = self.receiver.taken();
            if taken.len() >= at_least {
                let received = taken.into_iter().map(|request| Received {
                    topic: request.path.trim_start_matches("/hooks/").to_owned(),
                    key: None,
                    headers: request.headers,
                    body: request.body.into(),
                });
                return received.collect();
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{} of {at_least} requests arrived",
                taken.len()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn missing_topic(&self) -> Option<String> {
        Some("elsewhere".to_owned())
    }

    fn impossible_topic(&self) -> Option<String> {
        Some("..".to_owned())
    }

    /// Every receiver is private.
    async fn private(&self) -> Option<Self> {
        Self::new().await
    }

    async fn stop(&self) {
        self.receiver.stop();
    }

    async fn start(&self) {
        self.receiver.start();
    }
}
