//! Facts of an event for conditions, each looked up at most once, on demand.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt::{self, Write as _};

use bento_core::envelope::Envelope;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess,
    Visitor,
};
use serde_json::value::RawValue;
use smallvec::{SmallVec, smallvec};

use super::path::{EnvelopeField, Subject};
use super::value::Value;

/// The place of the value of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Slot {
    Envelope(EnvelopeField),
    Header(usize),
    Payload(usize),
}

/// The paths in headers and payload that the rules of a router name.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    headers: Paths,
    payload: Paths,
}

impl Wanted {
    /// The slot of a subject; equal subjects share a slot.
    pub(super) fn slot(&mut self, subject: Subject) -> Slot {
        match subject {
            Subject::Envelope(field) => Slot::Envelope(field),
            Subject::Header(name) => Slot::Header(self.headers.slot(&[name])),
            Subject::Payload(names) => Slot::Payload(self.payload.slot(&names)),
        }
    }
}

/// Paths into one JSON object.
#[derive(Debug, Default)]
struct Paths {
    root: Node,
    count: usize,
}

/// The paths at and below one place of a JSON text.
#[derive(Debug, Default)]
struct Node {
    slot: Option<usize>,
    children: Vec<(Box<str>, Node)>,
}

type Found<'e> = SmallVec<[Option<Value<'e>>; 8]>;

impl Paths {
    fn slot(&mut self, names: &[String]) -> usize {
        let mut node = &mut self.root;
        for name in names {
            let at = node
                .children
                .iter()
                .position(|(known, _)| **known == **name)
                .unwrap_or_else(|| {
                    node.children.push((name.as_str().into(), Node::default()));
                    node.children.len() - 1
                });
            node = &mut node.children[at].1;
        }
        *node.slot.get_or_insert_with(|| {
            self.count += 1;
            self.count - 1
        })
    }

    /// The values at all paths, found in one pass; empty if the text is not JSON.
    fn find<'e>(&self, text: &'e [u8]) -> Found<'e> {
        let mut found: Found<'e> = smallvec![None; self.count];
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let walk = Walk {
            node: &self.root,
            found: &mut found,
        };
        if walk
            .deserialize(&mut deserializer)
            .and_then(|()| deserializer.end())
            .is_err()
        {
            found.fill(None);
        }
        found
    }
}

impl Node {
    fn child(&self, name: &str) -> Option<&Self> {
        self.children
            .iter()
            .find(|(known, _)| **known == *name)
            .map(|(_, child)| child)
    }
}

/// An event as conditions see it.
pub(super) struct Facts<'e> {
    pub(super) envelope: &'e Envelope,
    wanted: &'e Wanted,
    headers: OnceCell<Found<'e>>,
    payload: OnceCell<Found<'e>>,
}

impl<'e> Facts<'e> {
    pub(super) fn new(envelope: &'e Envelope, wanted: &'e Wanted) -> Self {
        Self {
            envelope,
            wanted,
            headers: OnceCell::new(),
            payload: OnceCell::new(),
        }
    }

    /// Evaluates a question about the value in a slot, which may be missing.
    pub(super) fn ask(
        &self,
        slot: Slot,
        question: impl FnOnce(Option<&Value<'_>>) -> bool,
    ) -> bool {
        match slot {
            Slot::Envelope(field) => question(envelope_field(self.envelope, field).as_ref()),
            Slot::Header(at) => question(self.headers()[at].as_ref()),
            Slot::Payload(at) => question(self.payload()[at].as_ref()),
        }
    }

    fn headers(&self) -> &Found<'e> {
        self.headers
            .get_or_init(|| self.wanted.headers.find(&self.envelope.headers))
    }

    /// The values of the payload; empty for an encoded payload, which is not JSON or not that of
    /// the event.
    fn payload(&self) -> &Found<'e> {
        self.payload
            .get_or_init(|| match self.envelope.content_encoding {
                None => self.wanted.payload.find(&self.envelope.payload),
                Some(_) => smallvec![None; self.wanted.payload.count],
            })
    }
}

fn envelope_field(envelope: &Envelope, field: EnvelopeField) -> Option<Value<'_>> {
    let text = |text: &'_ str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let borrowed = match field {
        EnvelopeField::EventType => Some(&*envelope.event_type),
        EnvelopeField::Kind => Some(envelope.kind.as_str()),
        EnvelopeField::AggregateType => {
            Some(&*envelope.aggregate_type).filter(|name| !name.is_empty())
        }
        EnvelopeField::AggregateId => Some(&*envelope.aggregate_id).filter(|id| !id.is_empty()),
        EnvelopeField::Tenant => envelope.tenant_id.as_deref(),
        EnvelopeField::Topic => envelope.topic.as_deref(),
        EnvelopeField::RoutingKey => envelope.routing_key.as_deref(),
        EnvelopeField::ContentEncoding => envelope.content_encoding.as_deref(),
        EnvelopeField::Version => {
            return text(&envelope.schema_version.to_string()).map(|text| Value::text(text.into()));
        }
        EnvelopeField::EventId => {
            return text(&envelope.event_id.to_string()).map(|text| Value::text(text.into()));
        }
        EnvelopeField::Sequence => {
            return envelope
                .sequence
                .map(|sequence| Value::text(Cow::Owned(sequence.to_string())));
        }
        // Headers have slots of their own.
        EnvelopeField::Header => None,
    };
    borrowed.map(|text| Value::text(Cow::Borrowed(text)))
}

/// Walks through a JSON text and collects the wanted values.
struct Walk<'n, 'f, 'e> {
    node: &'n Node,
    found: &'f mut Found<'e>,
}

impl<'e> DeserializeSeed<'e> for Walk<'_, '_, 'e> {
    type Value = ();

    fn deserialize<D: Deserializer<'e>>(self, deserializer: D) -> Result<(), D::Error> {
        let Some(slot) = self.node.slot else {
            return deserializer.deserialize_any(self);
        };
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let is_composite = raw.starts_with(['{', '[']);
        self.found[slot] = Some(if is_composite {
            Value::Other
        } else {
            Value::json(raw)
        });
        if is_composite && !self.node.children.is_empty() {
            return serde_json::Deserializer::from_str(raw)
                .deserialize_any(self)
                .map_err(D::Error::custom);
        }
        Ok(())
    }
}

impl<'e> Visitor<'e> for Walk<'_, '_, 'e> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'e>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(child) = map.next_key_seed(Name(self.node))? {
            match child {
                Some(node) => map.next_value_seed(Walk {
                    node,
                    found: self.found,
                })?,
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'e>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut name = String::new();
        for index in 0usize.. {
            name.clear();
            write!(name, "{index}").expect("writing to a String succeeds");
            let more = match self.node.child(&name) {
                Some(node) => seq.next_element_seed(Walk {
                    node,
                    found: self.found,
                })?,
                None => seq.next_element::<IgnoredAny>()?.map(|_| ()),
            };
            if more.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Looks up a key without copying it.
struct Name<'n>(&'n Node);

impl<'n, 'e> DeserializeSeed<'e> for Name<'n> {
    type Value = Option<&'n Node>;

    fn deserialize<D: Deserializer<'e>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'n> Visitor<'_> for Name<'n> {
    type Value = Option<&'n Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.child(name))
    }
}
