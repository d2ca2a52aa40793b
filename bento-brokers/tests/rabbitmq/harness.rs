//! A queue of its own for each rule.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bento_brokers::ConnectError;
use bento_brokers::message::{Format, MessageSettings};
use bento_brokers::rabbitmq::{Addressing, RabbitMqPublisher, RabbitMqSettings};
use bento_core::Envelope;
use bento_relay::publish::{Delivery, Destination};
use bento_testkit::publisher::{Mode, PublisherHarness, Received, Traits, WRONG_PASSWORD, Wire};
use lapin::options::{
    BasicGetOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};

use super::broker::Broker;
use super::support::{unique, url};

pub(crate) const URL: &str = "BENTO_TEST_RABBITMQ_URL";
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// An event of more is too large for the publisher of the tests.
const LIMIT: usize = 64 * 1024;

/// A queue behind an exchange of its own; its name is the routing key.
pub(crate) struct Queue {
    pub(crate) url: String,
    pub(crate) name: String,
    pub(crate) exchange: String,
    /// Taken out of the queue by now.
    received: Mutex<Vec<Received>>,
    pub(crate) broker: Option<Broker>,
}

impl Queue {
    pub(crate) async fn of_the_environment() -> Option<Self> {
        Some(Self::on(url(URL)?, None).await)
    }

    /// Durable, and gone when it was not used for a minute.
    pub(crate) async fn on(url: String, broker: Option<Broker>) -> Self {
        let name = unique("bento-test");
        let queue = Self {
            exchange: format!("{name}-exchange"),
            url,
            name,
            received: Mutex::default(),
            broker,
        };
        let (_connection, channel) = queue.open().await;
        let mut expires = FieldTable::default();
        expires.insert("x-expires".into(), AMQPValue::LongInt(60_000));
        channel
            .queue_declare(
                queue.name.as_str().into(),
                QueueDeclareOptions::durable(),
                expires,
            )
            .await
            .unwrap();
        queue.make_exchange(&channel).await;
        queue
    }

    pub(crate) async fn make_exchange(&self, channel: &Channel) {
        let options = ExchangeDeclareOptions {
            durable: true,
            auto_delete: true,
            ..ExchangeDeclareOptions::default()
        };
        let exchange = || self.exchange.as_str().into();
        channel
            .exchange_declare(
                exchange(),
                ExchangeKind::Direct,
                options,
                FieldTable::default(),
            )
            .await
            .unwrap();
        let (queue, options) = (|| self.name.as_str().into(), QueueBindOptions::default());
        channel
            .queue_bind(queue(), exchange(), queue(), options, FieldTable::default())
            .await
            .unwrap();
    }

    pub(crate) async fn delete_exchange(&self) {
        let (_connection, channel) = self.open().await;
        channel
            .exchange_delete(
                self.exchange.as_str().into(),
                ExchangeDeleteOptions::default(),
            )
            .await
            .unwrap();
    }

    pub(crate) async fn open(&self) -> (Connection, Channel) {
        let connection = Connection::connect(&self.url, ConnectionProperties::default())
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        (connection, channel)
    }

    pub(crate) fn settings(&self) -> RabbitMqSettings {
        RabbitMqSettings {
            url: self.url.as_str().into(),
            addressing: Addressing::Exchange(self.exchange.clone()),
            max_message_bytes: LIMIT,
            ..RabbitMqSettings::default()
        }
    }

    pub(crate) async fn connect(&self, settings: RabbitMqSettings) -> RabbitMqPublisher {
        RabbitMqPublisher::new(settings).unwrap()
    }

    pub(crate) fn deliver(&self, topic: &str, payload: impl Into<bytes::Bytes>) -> Delivery {
        let envelope = Envelope::new("thing.happened", 1, chrono::Utc::now(), payload);
        Delivery::new(Arc::new(envelope), Destination::default().with_topic(topic))
    }

    /// A good one, `middle`, and a good one.
    pub(crate) fn around(&self, middle: Delivery) -> [Delivery; 3] {
        [
            self.deliver(&self.name, "\"before\""),
            middle,
            self.deliver(&self.name, "\"after\""),
        ]
    }
}

impl PublisherHarness for Queue {
    type Publisher = RabbitMqPublisher;

    fn traits(&self) -> Traits {
        let wire = Some(Wire {
            prefix: "cloudEvents_",
            is_encoded: false,
        });
        Traits {
            wire,
            too_large: Some(LIMIT),
            ..Traits::default()
        }
    }

    async fn publisher(&self, mode: Mode) -> RabbitMqPublisher {
        let format = match mode {
            Mode::Binary => Format::Binary,
            Mode::Structured => Format::Structured,
            Mode::Plain => Format::Plain,
        };
        let message = MessageSettings {
            format,
            ..MessageSettings::default()
        };
        self.connect(RabbitMqSettings {
            message,
            ..self.settings()
        })
        .await
    }

    fn topic(&self) -> &str {
        &self.name
    }

    async fn received(&self, at_least: usize) -> Vec<Received> {
        let (_connection, channel) = self.open().await;
        let all = async {
            loop {
                let got = channel
                    .basic_get(self.name.as_str().into(), BasicGetOptions { no_ack: true })
                    .await
                    .unwrap();
                match got {
                    Some(message) => self
                        .received
                        .lock()
                        .unwrap()
                        .push(received(message.delivery)),
                    None if self.received.lock().unwrap().len() >= at_least => break,
                    None => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, all)
            .await
            .expect("the messages arrive");
        self.received.lock().unwrap().clone()
    }

    fn missing_topic(&self) -> Option<String> {
        Some(format!("{}-which-no-queue-takes", self.name))
    }

    fn impossible_topic(&self) -> Option<String> {
        Some("x".repeat(256))
    }

    async fn wrong_credentials(&self) -> Option<Box<dyn Error>> {
        let address = bento_brokers::ServerUrl::from(self.url.as_str()).address();
        let url = format!("amqp://guest:{WRONG_PASSWORD}@{address}");
        let refused = RabbitMqPublisher::new(RabbitMqSettings {
            url: url.into(),
            ..self.settings()
        })
        .unwrap()
        .check()
        .await;
        let error = refused.expect_err("the password is wrong");
        assert!(
            matches!(error, ConnectError::Credentials { .. }),
            "{error:?}"
        );
        Some(error.into())
    }

    async fn refused(&self, address: &str) -> Option<Box<dyn Error>> {
        let url = format!("amqp://guest:{WRONG_PASSWORD}@{address}");
        let refused = RabbitMqPublisher::new(RabbitMqSettings {
            url: url.into(),
            ..self.settings()
        })
        .unwrap()
        .check()
        .await;
        Some(refused.expect_err("nothing listens").into())
    }

    async fn private(&self) -> Option<Self> {
        let broker = Broker::start("")?;
        Some(Self::on(broker.url(), Some(broker)).await)
    }

    async fn stop(&self) {
        self.broker.as_ref().expect("it is private").server.kill();
    }

    async fn start(&self) {
        assert!(self.broker.as_ref().expect("it is private").server.start());
    }
}

fn received(delivery: lapin::message::Delivery) -> Received {
    let properties = &delivery.properties;
    let mut headers = std::collections::BTreeMap::new();
    for (name, value) in properties.headers().iter().flat_map(|table| table.inner()) {
        let AMQPValue::LongString(value) = value else {
            panic!("`{name}` is not a text")
        };
        headers.insert(name.to_string(), value.to_string());
    }
    if let Some(content_type) = properties.content_type() {
        headers.insert("content-type".to_owned(), content_type.to_string());
    }
    assert_eq!(
        properties.delivery_mode(),
        &Some(2),
        "every message is persistent"
    );
    Received {
        topic: delivery.routing_key.to_string(),
        key: None,
        headers,
        body: delivery.data.into(),
    }
}
