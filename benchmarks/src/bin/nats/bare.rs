//! The client alone: messages that are there already, as many under way as the relay may have, every acknowledgement awaited.

use std::sync::Arc;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::message::PublishMessage;
use bento_benchmarks::Result;
use bento_core::Envelope;
use bento_core::publish::{Delivery, Destination};
use bento_publishers::message::{Binding, MessageSettings};
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::stream::Stream;

/// The default of `NatsSettings::max_in_flight`.
const IN_FLIGHT: usize = 1_000;

pub(crate) type Messages = Vec<(String, PublishMessage)>;

/// The same messages as Bento's, byte for byte.
pub(crate) fn messages(envelopes: &[Envelope], stream: &Stream) -> Result<Messages> {
    let settings = MessageSettings::default();
    let message = |envelope: &Envelope| {
        let delivery = Delivery::new(Arc::new(envelope.clone()), Destination::default());
        let message = settings.message(&delivery, &Binding::NATS)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &message.headers {
            headers.append(&**name, &**value);
        }
        let id = format!("{}:{}", envelope.event_id, Destination::DEFAULT);
        Ok((stream.subject(), PublishMessage::build().payload(message.body).headers(headers).message_id(id)))
    };
    envelopes.iter().map(message).collect()
}

pub(crate) async fn publish(context: &Context, messages: Messages) -> Result {
    futures_util::stream::iter(messages)
        .map(|(subject, message)| async move { context.send_publish(subject, message).await?.await })
        .buffer_unordered(IN_FLIGHT)
        .try_for_each(|_| std::future::ready(Ok(())))
        .await?;
    Ok(())
}
