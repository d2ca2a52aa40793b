//! The RabbitMQ message of a delivery.

use bento_relay::publish::{Delivery, PublishError};
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::{Addressing, RabbitMqSettings};
use crate::message::{Binding, Message};

/// The most that AMQP's short texts hold, in bytes: names of exchanges, routing keys, names of
/// headers.
const SHORT: usize = 255;
/// The bytes that a frame needs beside the headers.
const FRAME_RESERVE: usize = 4096;
/// The bytes that a header needs beside its name and value.
const HEADER_RESERVE: usize = 6;
/// Survives a restart of the broker, if the queue does.
const PERSISTENT: u8 = 2;

/// A message and where it goes.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
}

impl Outgoing {
    /// # Errors
    /// If the event can never be sent so.
    pub(super) fn new(
        delivery: &Delivery,
        settings: &RabbitMqSettings,
        frame_max: usize,
    ) -> Result<Self, PublishError> {
        let (exchange, routing_key) = settings.addressing.of(delivery)?;
        let message = settings.message.message(delivery, &Binding::AMQP)?;
        check_size(&message, settings.max_message_bytes, frame_max)?;
        let Message {
            headers,
            content_type,
            body,
        } = message;
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert(
                name.into_owned().into(),
                AMQPValue::LongString(value.into_owned().into()),
            );
        }
        let mut properties = BasicProperties::default()
            .with_message_id(delivery.envelope.event_id.to_string().into())
            .with_delivery_mode(PERSISTENT)
            .with_headers(table);
        if let Some(content_type) = content_type {
            properties = properties.with_content_type(content_type.into());
        }
        if let Ok(seconds) = u64::try_from(delivery.envelope.occurred_at.timestamp()) {
            properties = properties.with_timestamp(seconds);
        }
        let event_type = delivery.event_type();
        if event_type.len() <= SHORT {
            properties = properties.with_type(event_type.into_owned().into());
        }
        Ok(Self {
            exchange,
            routing_key,
            properties,
            body,
        })
    }

    /// By what a message that comes back is known again.
    pub(super) fn id(&self) -> (&str, &str, &str) {
        let message = self
            .properties
            .message_id()
            .as_ref()
            .map_or("", ShortString::as_str);
        (self.exchange.as_str(), self.routing_key.as_str(), message)
    }
}

impl Addressing {
    /// The exchange and the routing key.
    fn of(&self, delivery: &Delivery) -> Result<(ShortString, ShortString), PublishError> {
        let own = delivery
            .destination
            .routing_key
            .as_deref()
            .or(delivery.envelope.routing_key.as_deref());
        let topic = delivery.topic();
        let (exchange, routing_key) = match self {
            Self::Exchange(exchange) => (exchange.as_str(), own.unwrap_or(&topic)),
            Self::TopicIsExchange => (&*topic, &*delivery.routing_key()),
        };
        Ok((
            short("exchange", exchange)?,
            short("routing key", routing_key)?,
        ))
    }
}

fn short(what: &str, text: &str) -> Result<ShortString, PublishError> {
    if text.len() <= SHORT {
        return Ok(text.to_owned().into());
    }
    let message = format!(
        "the {what} has {} bytes, more than the {SHORT} that AMQP allows",
        text.len()
    );
    Err(PublishError::permanent(message))
}

fn check_size(
    message: &Message<'_>,
    max_body: usize,
    frame_max: usize,
) -> Result<(), PublishError> {
    let body = message.body.len();
    if body > max_body {
        let message = format!(
            "the message has {body} bytes, more than the {max_body} of `max_message_bytes`"
        );
        return Err(PublishError::permanent(message));
    }
    // A larger frame would cost all its neighbours the connection. Zero means no limit.
    let headers = message.size() - body + message.headers.len() * HEADER_RESERVE;
    if frame_max > 0 && headers + FRAME_RESERVE > frame_max {
        let message =
            format!("the headers have {headers} bytes, more than fit into a frame of {frame_max}");
        return Err(PublishError::permanent(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bento_core::Envelope;
    use bento_relay::publish::{Destination, FailureClass};
    use chrono::DateTime;

    use super::*;

    fn delivery(destination: Destination) -> Delivery {
        let mut envelope = Envelope::new("order.created", 1, DateTime::UNIX_EPOCH, r#"{"n":1}"#);
        envelope.aggregate_id = "42".to_owned();
        Delivery::new(Arc::new(envelope), destination)
    }

    fn address(addressing: Addressing, destination: Destination) -> (String, String) {
        let (exchange, routing_key) = addressing.of(&delivery(destination)).unwrap();
        (exchange.to_string(), routing_key.to_string())
    }

    #[test]
    fn topic_and_routing_key_mean_what_the_settings_say() {
        let exchange = || Addressing::Exchange("events".to_owned());
        let pair = |exchange: &str, key: &str| (exchange.to_owned(), key.to_owned());
        let plain = || Destination::new("d");
        assert_eq!(
            address(exchange(), plain()),
            pair("events", "order.created")
        );
        assert_eq!(
            address(exchange(), plain().with_topic("orders")),
            pair("events", "orders")
        );
        assert_eq!(
            address(
                exchange(),
                plain().with_topic("orders").with_routing_key("eu")
            ),
            pair("events", "eu")
        );
        assert_eq!(
            address(Addressing::TopicIsExchange, plain()),
            pair("order.created", "order.created")
        );
        let both = plain().with_topic("orders").with_routing_key("eu");
        assert_eq!(
            address(Addressing::TopicIsExchange, both),
            pair("orders", "eu")
        );
    }

    #[test]
    fn what_amqp_cannot_carry_is_refused_for_good() {
        let settings = RabbitMqSettings {
            max_message_bytes: 6,
            ..RabbitMqSettings::default()
        };
        let refused = |delivery: &Delivery, settings: &RabbitMqSettings, frame_max| {
            let error = Outgoing::new(delivery, settings, frame_max).unwrap_err();
            assert_eq!(error.class(), FailureClass::Permanent);
            error.to_string()
        };
        let small = delivery(Destination::new("d"));
        assert_eq!(
            refused(&small, &settings, 0),
            "the message has 7 bytes, more than the 6 of `max_message_bytes`"
        );
        let long = delivery(Destination::new("d").with_topic("x".repeat(256)));
        let settings = RabbitMqSettings::default();
        assert_eq!(
            refused(&long, &settings, 0),
            "the routing key has 256 bytes, more than the 255 that AMQP allows"
        );
        let mut envelope = (*small.envelope).clone();
        envelope.headers = format!(r#"{{"x-own":"{}"}}"#, "x".repeat(5000)).into();
        let wide = Delivery::new(Arc::new(envelope), Destination::new("d"));
        Outgoing::new(&wide, &settings, 0).unwrap();
        assert!(refused(&wide, &settings, 8192).contains("more than fit into a frame of 8192"));
    }
}
