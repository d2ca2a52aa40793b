//! Broker adapters of the Bento domain-event framework.
//!
//! One module and one cargo feature for each broker. What a message looks like is said once for all
//! of them, in [`message`].
//!
//! | feature | what it brings |
//! |---|---|
//! | `nats` | the module `nats`: NATS JetStream, to publish and to receive |
//! | `rabbitmq` | the module `rabbitmq`: RabbitMQ, with publisher confirms, and queues as sources |
//! | `redis` | the module `redis`: Redis Streams, published and received |
//! | `kafka` | the module `kafka`: Kafka and its source `KafkaSource`, on librdkafka, which is compiled in: it needs a C compiler, make, and the headers of zlib and OpenSSL |
//! | `http` | the module `http`: signed webhooks, their receiver `HttpReceiver`, and `WebhookAlert` for dead letters |
//!
//! No feature is on by default. [`FanOut`], [`Timeout`], [`Traced`], the console and the memory
//! publisher need none.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod connect;
mod fan_out;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod message;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "_broker")]
mod patience;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
mod secret;
mod server_url;
mod timeout;
mod tls;
mod traced;

#[doc(no_inline)]
pub use bento_relay::publish::{
    BoxPublisher, ConsolePublisher, MemoryPublisher, Publisher, Publishers,
};

pub use self::connect::ConnectError;
pub use self::fan_out::FanOut;
pub use self::secret::Secret;
pub use self::server_url::ServerUrl;
pub use self::timeout::Timeout;
pub use self::tls::TlsSettings;
pub use self::traced::Traced;
