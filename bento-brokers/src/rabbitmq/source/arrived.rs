//! A delivery as it arrived.

use std::borrow::Cow;

use bento_relay::source::Message;
use chrono::Utc;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde_json::Value;

use crate::message::{Arrived, Binding, Reading};

/// The levels of tables and lists of a header that are shown.
const DEEPEST: u8 = 32;

/// Reads a message of the queue.
pub(super) fn message(
    reading: &Reading,
    source: &str,
    queue: &ShortString,
    delivery: Delivery,
) -> Message {
    let Delivery {
        exchange,
        routing_key,
        properties,
        data,
        ..
    } = delivery;
    let text = |text: &Option<ShortString>| text.as_ref().map(ToString::to_string);
    // Before the sender's own, so that these count where both have the name.
    let of_properties = [
        (
            "amqp-exchange",
            Some(exchange.to_string()).filter(|name| !name.is_empty()),
        ),
        ("amqp-type", text(properties.kind())),
        ("amqp-correlation-id", text(properties.correlation_id())),
        ("amqp-reply-to", text(properties.reply_to())),
        ("amqp-app-id", text(properties.app_id())),
        ("amqp-user-id", text(properties.user_id())),
        ("amqp-expiration", text(properties.expiration())),
        ("amqp-content-encoding", text(properties.content_encoding())),
        (
            "amqp-timestamp",
            properties.timestamp().map(|seconds| seconds.to_string()),
        ),
        (
            "amqp-priority",
            properties.priority().map(|priority| priority.to_string()),
        ),
    ];
    let of_properties = of_properties
        .into_iter()
        .filter_map(|(name, value)| Some((Cow::Borrowed(name), Cow::Owned(value?))));
    let own = properties.headers().iter().flat_map(FieldTable::inner);
    let own = own.map(|(name, value)| (Cow::Borrowed(name.as_str()), shown(value)));
    let headers: Vec<(Cow<'_, str>, Cow<'_, str>)> = of_properties.chain(own).collect();
    let arrived = Arrived::new(source, routing_key.as_str(), data, Utc::now())
        .with_headers(headers)
        .with_content_type(properties.content_type().as_ref().map(ShortString::as_str))
        .with_message_id(properties.message_id().as_ref().map(ShortString::as_str));
    let place = format!("queue {queue}, exchange {exchange:?}, routing key {routing_key:?}");
    reading.message(&arrived, &Binding::AMQP, &place)
}

/// The value of a header as a text.
fn shown(value: &AMQPValue) -> Cow<'_, str> {
    match value {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()),
        AMQPValue::ShortString(text) => Cow::Borrowed(text.as_str()),
        AMQPValue::ByteArray(bytes) => String::from_utf8_lossy(bytes.as_slice()),
        AMQPValue::Void => Cow::Borrowed(""),
        other => Cow::Owned(json(other, DEEPEST).to_string()),
    }
}

/// The value as JSON. Tables and lists may be as deep as a frame allows, 128 KiB by default: what
/// lies `deeper` than it may is left out.
fn json(value: &AMQPValue, deeper: u8) -> Value {
    let Some(deeper) = deeper.checked_sub(1) else {
        return "…".into();
    };
    match value {
        AMQPValue::Boolean(value) => (*value).into(),
        AMQPValue::ShortShortInt(value) => (*value).into(),
        AMQPValue::ShortShortUInt(value) => (*value).into(),
        AMQPValue::ShortInt(value) => (*value).into(),
        AMQPValue::ShortUInt(value) => (*value).into(),
        AMQPValue::LongInt(value) => (*value).into(),
        AMQPValue::LongUInt(value) => (*value).into(),
        AMQPValue::LongLongInt(value) => (*value).into(),
        AMQPValue::Float(value) => (*value).into(),
        AMQPValue::Double(value) => (*value).into(),
        AMQPValue::Timestamp(seconds) => (*seconds).into(),
        AMQPValue::DecimalValue(decimal) => {
            let value = f64::from(decimal.value) / 10_f64.powi(i32::from(decimal.scale));
            value.into()
        }
        AMQPValue::FieldArray(list) => {
            let values = list.as_slice().iter();
            values.map(|value| json(value, deeper)).collect()
        }
        AMQPValue::FieldTable(table) => {
            let members = table.inner().iter();
            Value::Object(
                members
                    .map(|(name, value)| (name.to_string(), json(value, deeper)))
                    .collect(),
            )
        }
        AMQPValue::LongString(_) | AMQPValue::ShortString(_) | AMQPValue::ByteArray(_) => {
            shown(value).into()
        }
        AMQPValue::Void => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldArray;

    use super::*;

    #[test]
    fn a_header_of_any_depth_is_shown() {
        let nested = |levels: usize| {
            (0..levels).fold(AMQPValue::Boolean(true), |inner, _| {
                AMQPValue::FieldArray(FieldArray::from(vec![inner]))
            })
        };
        assert_eq!(shown(&nested(2)), "[[true]]");
        let deep = nested(20_000);
        let text = shown(&deep).into_owned();
        let levels = usize::from(DEEPEST);
        let expected = format!("{}\"…\"{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(text, expected);
        // Its own drop is as deep as it is.
        std::mem::forget(deep);
    }
}
