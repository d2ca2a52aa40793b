//! Brokers of the environment, with streams, exchanges and queues of a test's own.

use async_nats::jetstream;
use lapin::options::{ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use uuid::Uuid;

/// The variables of a process.
pub type Variables = Vec<(String, String)>;

/// A broker, and how the two services reach it.
pub struct Broker {
    pub of_shop: Variables,
    pub of_stock: Variables,
    name: String,
    client: Client,
}

enum Client {
    Nats(jetstream::Context),
    RabbitMq(Channel),
}

impl Broker {
    /// `None` if there is no NATS for tests.
    pub async fn nats() -> Option<Self> {
        let (url, name) = (url("BENTO_TEST_NATS_URL")?, name());
        let client = async_nats::connect(&url).await.unwrap();
        let variables = |other: &str| {
            variables(
                "nats",
                &[
                    ("PUBLISHERS__NATS__URLS", &url),
                    ("PUBLISHERS__NATS__PREFIX", &name),
                    ("SOURCES__NATS__URLS", &url),
                    ("SOURCES__NATS__STREAM", &format!("{name}-{other}")),
                    ("SOURCES__NATS__SUBJECTS", &format!("{name}.{other}.>")),
                ],
            )
        };
        Some(Self {
            of_shop: variables("stock"),
            of_stock: variables("shop"),
            name,
            client: Client::Nats(jetstream::new(client)),
        })
    }

    /// `None` if there is no RabbitMQ for tests.
    pub async fn rabbitmq() -> Option<Self> {
        let (url, name) = (url("BENTO_TEST_RABBITMQ_URL")?, name());
        let connected = Connection::connect(&url, ConnectionProperties::default()).await;
        let channel = connected.unwrap().create_channel().await.unwrap();
        let (topic, options) = (ExchangeKind::Topic, ExchangeDeclareOptions::default());
        let declared =
            channel.exchange_declare(name.as_str().into(), topic, options, FieldTable::default());
        declared.await.unwrap();
        let variables = |service: &str, other: &str| {
            let bind = format!(r#"[{{ exchange = "{name}", routing_key = "{other}.#" }}]"#);
            variables(
                "rabbitmq",
                &[
                    ("PUBLISHERS__RABBITMQ__URL", &url),
                    ("PUBLISHERS__RABBITMQ__ADDRESSING__EXCHANGE", &name),
                    ("SOURCES__RABBITMQ__URL", &url),
                    ("SOURCES__RABBITMQ__QUEUE", &format!("{name}-{service}")),
                    ("SOURCES__RABBITMQ__BIND", &bind),
                ],
            )
        };
        Some(Self {
            of_shop: variables("shop", "stock"),
            of_stock: variables("stock", "shop"),
            name,
            client: Client::RabbitMq(channel),
        })
    }

    /// Removes what the services have made, as far as they came.
    pub async fn remove(&self) {
        for service in ["shop", "stock"] {
            let of_service = format!("{}-{service}", self.name);
            match &self.client {
                Client::Nats(context) => drop(context.delete_stream(of_service).await),
                Client::RabbitMq(channel) => {
                    let options = QueueDeleteOptions::default();
                    drop(channel.queue_delete(of_service.into(), options).await);
                }
            }
        }
        if let Client::RabbitMq(channel) = &self.client {
            let options = ExchangeDeleteOptions::default();
            let deleted = channel.exchange_delete(self.name.as_str().into(), options);
            drop(deleted.await);
        }
    }
}

#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn url(variable: &str) -> Option<String> {
    let url = std::env::var(variable).ok();
    if url.is_none() {
        eprintln!("skipped: {variable} is not set");
    }
    url
}

fn name() -> String {
    format!("shop-test-{}", Uuid::now_v7().simple())
}

fn variables(publisher: &str, others: &[(&str, &str)]) -> Variables {
    let others = others.iter();
    let others = others.map(|(name, value)| (format!("BENTO_{name}"), (*value).to_owned()));
    let publisher = ("BENTO_PUBLISHER".to_owned(), publisher.to_owned());
    others.chain([publisher]).collect()
}
