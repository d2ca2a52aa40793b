//! The client alone: events that are in memory already, as many messages under way as the relay may
//! have, every acknowledgement awaited.

use std::borrow::Cow;
use std::sync::Arc;

use async_nats::jetstream::Context;
use async_nats::jetstream::message::PublishMessage;
use async_nats::{HeaderMap, HeaderName};
use bento_benchmarks::Result;
use bento_brokers::message::{Binding, MessageSettings};
use bento_core::Envelope;
use bento_relay::publish::{Delivery, Destination};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::stream::Stream;

/// The default of `NatsSettings::max_in_flight`.
const IN_FLIGHT: usize = 1_000;

/// The parts of a message, the same as Bento's, byte for byte.
pub(crate) struct Parts {
    subject: String,
    headers: Vec<(Cow<'static, str>, String)>,
    id: String,
    body: Bytes,
}

pub(crate) type Message = (String, PublishMessage);

pub(crate) fn parts(envelopes: &[Envelope], stream: &Stream) -> Result<Vec<Parts>> {
    let settings = MessageSettings::default();
    let parts = |envelope: &Envelope| {
        let delivery = Delivery::new(Arc::new(envelope.clone()), Destination::default());
        let message = settings.message(&delivery, &Binding::NATS)?;
        let headers = message
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into_owned()))
            .collect();
        let id = format!("{}:{}", envelope.event_id, Destination::DEFAULT);
        Ok(Parts {
            subject: stream.subject(),
            headers,
            id,
            body: message.body,
        })
    };
    envelopes.iter().map(parts).collect()
}

impl Parts {
    /// The client's own form of the message.
    pub(crate) fn message(self) -> Message {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers {
            match name {
                Cow::Borrowed(name) => headers.insert(HeaderName::from_static(name), value),
                Cow::Owned(name) => headers.insert(name, value),
            }
        }
        (
            self.subject,
            PublishMessage::build()
                .payload(self.body)
                .headers(headers)
                .message_id(self.id),
        )
    }
}

pub(crate) async fn publish(context: &Context, messages: impl Iterator<Item = Message>) -> Result {
    futures_util::stream::iter(messages)
        .map(
            |(subject, message)| async move { context.send_publish(subject, message).await?.await },
        )
        .buffer_unordered(IN_FLIGHT)
        .try_for_each(|_| std::future::ready(Ok(())))
        .await?;
    Ok(())
}
