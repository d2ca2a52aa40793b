//! A broker behind a proxy: one of the test's own where its program is found, else the shared one.

use std::time::Duration;

use async_nats::jetstream;
use bento_brokers::nats::{NatsPublisher, NatsSettings};
use bento_brokers::rabbitmq::{Addressing, RabbitMqPublisher, RabbitMqSettings};
use bento_relay::publish::{BoxPublisher, Destination};
use bento_relay::source::{Resume, Source as _, Subscription as _};
use bento_tests::consuming::{COPIES, SOURCE, TOPIC, source};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;

use crate::servers as support;
use crate::servers::{self, PrivateServer};
use crate::support::proxy::Proxy;

#[path = "../../../bento-brokers/tests/support/streams.rs"]
mod streams;

#[allow(dead_code, reason = "its own tests use the rest")]
#[path = "../../../bento-brokers/tests/rabbitmq/broker.rs"]
mod rabbitmq;

/// The time for which a broker is away.
const AWAY: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nats,
    RabbitMq,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::RabbitMq => "rabbitmq",
        }
    }
}

/// A server of the test's own.
enum Own {
    Nats(PrivateServer),
    RabbitMq(rabbitmq::Broker),
}

impl Own {
    fn server(&self) -> &PrivateServer {
        match self {
            Self::Nats(server) => server,
            Self::RabbitMq(broker) => &broker.server,
        }
    }
}

pub struct Broker {
    pub kind: Kind,
    /// The stream or the queue.
    pub name: String,
    url: String,
    proxy: Proxy,
    own: Option<Own>,
}

impl Broker {
    /// Without a server it is nothing.
    pub async fn of(kind: Kind) -> Option<Self> {
        let (shared, own) = match kind {
            Kind::Nats => (servers::url("BENTO_TEST_NATS_URL")?, nats_server()),
            Kind::RabbitMq => {
                let own = rabbitmq::Broker::start("");
                (
                    servers::url("BENTO_TEST_RABBITMQ_URL")?,
                    own.map(Own::RabbitMq),
                )
            }
        };
        let url = match &own {
            Some(Own::RabbitMq(broker)) => broker.url(),
            Some(Own::Nats(server)) => format!("nats://127.0.0.1:{}", server.port),
            None => shared,
        };
        let broker = Self {
            kind,
            name: servers::unique("bento-test"),
            proxy: Proxy::before(&url, Duration::ZERO).await,
            url,
            own,
        };
        broker.make().await;
        Some(broker)
    }

    /// The URL through the proxy.
    pub fn url(&self) -> &str {
        self.proxy.url().trim_end_matches('/')
    }

    /// Makes the stream or the queue, by a subscription of the source.
    async fn make(&self) {
        if self.kind == Kind::Nats {
            let config = jetstream::stream::Config {
                name: self.name.clone(),
                subjects: vec![format!("{}.>", self.name)],
                ..jetstream::stream::Config::default()
            };
            streams::make_stream(&self.context().await, config).await;
        }
        let source = source::of(self.kind.name(), &self.url, self.name.clone(), false).unwrap();
        let subscribed = source.subscribe(Resume::new(SOURCE)).await;
        subscribed.unwrap().close().await;
    }

    async fn context(&self) -> jetstream::Context {
        jetstream::new(async_nats::connect(&self.url).await.unwrap())
    }

    pub fn publisher(&self) -> BoxPublisher {
        let url = self.url();
        match self.kind {
            Kind::Nats => BoxPublisher::new(
                NatsPublisher::new(NatsSettings {
                    urls: vec![url.into()],
                    prefix: self.name.clone(),
                    ..NatsSettings::default()
                })
                .unwrap(),
            ),
            Kind::RabbitMq => BoxPublisher::new(
                RabbitMqPublisher::new(RabbitMqSettings {
                    url: url.into(),
                    addressing: Addressing::Exchange(String::new()),
                    ..RabbitMqSettings::default()
                })
                .unwrap(),
            ),
        }
    }

    /// The destination of events, and that of copies.
    pub fn destinations(&self) -> [Destination; 2] {
        [TOPIC, COPIES].map(|topic| {
            let destination = Destination::new(topic).via("broker");
            match self.kind {
                Kind::Nats => destination.with_topic(topic),
                Kind::RabbitMq => destination.with_topic(&*self.name),
            }
        })
    }

    /// Ends every connection.
    pub fn cut(&self) {
        self.proxy.cut();
    }

    /// Takes the broker away for a while.
    pub async fn restart(&self) {
        match &self.own {
            Some(own) => {
                own.server().kill();
                tokio::time::sleep(AWAY).await;
                tokio::task::block_in_place(|| assert!(own.server().start()));
            }
            None => {
                self.proxy.shut(true);
                tokio::time::sleep(AWAY).await;
                self.proxy.shut(false);
            }
        }
    }

    /// The way in which it restarts.
    pub fn restarts(&self) -> &'static str {
        match self.own {
            Some(_) => "killed and started again",
            None => "away, behind a proxy",
        }
    }

    /// The messages behind the place that is stored, and with RabbitMQ those in the queue.
    pub async fn left(&self, place: Option<String>) -> u64 {
        match self.kind {
            Kind::Nats => {
                let mut stream = self.context().await.get_stream(&self.name).await.unwrap();
                let last = stream.info().await.unwrap().state.last_sequence;
                let place = match place {
                    Some(place) => place.split('@').next().unwrap().parse().unwrap(),
                    // The place that the consumer of the broker keeps.
                    None => {
                        let consumer = stream.consumer_info(SOURCE).await.unwrap();
                        consumer.ack_floor.stream_sequence
                    }
                };
                last - place
            }
            Kind::RabbitMq => {
                let (_connection, channel) = self.channel().await;
                let options = QueueDeclareOptions {
                    passive: true,
                    ..QueueDeclareOptions::default()
                };
                let name = self.name.as_str().into();
                let declared = channel.queue_declare(name, options, FieldTable::default());
                declared.await.unwrap().message_count().into()
            }
        }
    }

    async fn channel(&self) -> (lapin::Connection, lapin::Channel) {
        let options = lapin::ConnectionProperties::default();
        let connection = lapin::Connection::connect(&self.url, options)
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        (connection, channel)
    }

    /// Deletes the stream or the queue of a shared server.
    pub async fn clear(&self) {
        if self.own.is_some() {
            return;
        }
        match self.kind {
            Kind::Nats => {
                let context = self.context().await;
                context.delete_stream(&self.name).await.unwrap();
            }
            Kind::RabbitMq => {
                let (_connection, channel) = self.channel().await;
                let name = self.name.as_str().into();
                let options = QueueDeleteOptions::default();
                channel.queue_delete(name, options).await.unwrap();
            }
        }
    }
}

fn nats_server() -> Option<Own> {
    let server = PrivateServer::start_new(|port, directory| {
        let mut command = std::process::Command::new("nats-server");
        command.args(["--addr", "127.0.0.1", "--port", &port.to_string()]);
        command.arg("--jetstream").arg("--store_dir").arg(directory);
        command
    });
    server.map(Own::Nats)
}
