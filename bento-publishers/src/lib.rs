//! Broker adapters of the Bento domain-event framework.
//!
//! One module and one cargo feature for each broker; see the features of the crate. What a message looks like is said once for all of them,
//! in [`message`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod connect;
pub mod message;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
mod secret;
mod tls;

#[doc(no_inline)]
pub use bento_core::publish::{BoxPublisher, ConsolePublisher, MemoryPublisher, Publisher, Publishers};

pub use self::connect::ConnectError;
pub use self::secret::{Secret, ServerUrl};
pub use self::tls::TlsSettings;
