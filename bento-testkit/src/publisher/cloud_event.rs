//! A received message as the CloudEvents SDK understands it.

use cloudevents::Event;
use cloudevents::event::SpecVersion;
use cloudevents::message::{BinaryDeserializer, BinarySerializer, MessageAttributeValue, Result};

use super::{Received, Wire};

/// A message in binary mode.
pub(super) struct Binary<'a> {
    pub(super) received: &'a Received,
    pub(super) wire: Wire,
}

impl BinaryDeserializer for Binary<'_> {
    fn deserialize_binary<R: Sized, V: BinarySerializer<R>>(self, mut event: V) -> Result<R> {
        let Self { received, wire } = self;
        let version = received.headers.get(&format!("{}specversion", wire.prefix));
        assert_eq!(
            version.map(String::as_str),
            Some("1.0"),
            "specversion in {:?}",
            received.headers
        );
        event = event.set_spec_version(SpecVersion::V10)?;
        let mut has_content_type = false;
        let text = |value: &str| MessageAttributeValue::String(wire.decoded(value));
        for (name, value) in &received.headers {
            match name.strip_prefix(wire.prefix) {
                Some("specversion") | None => {}
                Some(
                    attribute @ ("id" | "source" | "type" | "subject" | "time" | "dataschema"),
                ) => {
                    event = event.set_attribute(attribute, text(value))?;
                }
                Some("datacontenttype") => {
                    has_content_type = true;
                    event = event.set_attribute("datacontenttype", text(value))?;
                }
                Some(extension) => {
                    assert_is_a_name(extension);
                    event = event.set_extension(extension, text(value))?;
                }
            }
        }
        if let (Some(content_type), false) = (received.header("content-type"), has_content_type) {
            event = event.set_attribute("datacontenttype", text(content_type))?;
        }
        event.end_with_data(received.body.to_vec())
    }
}

/// A message in structured mode.
pub(super) fn structured(received: &Received) -> Event {
    let names: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&received.body).expect("the body is a JSON object");
    names
        .keys()
        .filter(|name| *name != "data_base64")
        .for_each(|name| assert_is_a_name(name));
    serde_json::from_slice(&received.body).expect("the body is a CloudEvent")
}

/// Lower-case letters and digits, 20 of them at most.
fn assert_is_a_name(attribute: &str) {
    let is_valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    assert!(
        !attribute.is_empty() && attribute.len() <= 20 && attribute.bytes().all(is_valid),
        "`{attribute}` is not the name of an attribute"
    );
}

impl Wire {
    /// A value without percent-encoding.
    pub(super) fn decoded(&self, value: &str) -> String {
        if !self.is_encoded {
            return value.to_owned();
        }
        let mut bytes = Vec::with_capacity(value.len());
        let mut rest = value.as_bytes();
        while let Some((&first, behind)) = rest.split_first() {
            let hex = behind
                .get(..2)
                .and_then(|hex| std::str::from_utf8(hex).ok());
            match hex
                .and_then(|hex| u8::from_str_radix(hex, 16).ok())
                .filter(|_| first == b'%')
            {
                Some(byte) => {
                    bytes.push(byte);
                    rest = &behind[2..];
                }
                None => {
                    bytes.push(first);
                    rest = behind;
                }
            }
        }
        String::from_utf8(bytes).expect("an encoded value is UTF-8")
    }
}
