//! A value as serde reads it.

use bento_relay::reading::{ReadError, Why};
use bento_relay::route::Step;
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::origin::Origin;
use super::tree::{Entry, Node, Table, parse_value};

/// Hands a value to serde. What the environment holds becomes what is wanted of it, so that a
/// password may consist of digits.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a Entry);

impl<'a> Reader<'a> {
    /// The variable's value if the reader expects no type: a value as TOML writes it, else a text.
    fn resolved<T>(self, text: &str, read: impl FnOnce(Reader<'_>) -> T) -> T {
        let Entry { origin, .. } = self.0;
        let node = parse_value(text, origin).unwrap_or_else(|| Node::Text(text.to_owned()));
        read(Reader(&Entry {
            node,
            origin: origin.clone(),
        }))
    }

    /// A list in brackets, or texts between commas.
    fn listed<T>(self, text: &str, read: impl FnOnce(Reader<'_>) -> T) -> T {
        if text.trim_start().starts_with('[') {
            return self.resolved(text, read);
        }
        let Entry { origin, .. } = self.0;
        let entry = |part: &str| Entry {
            node: Node::Raw(part.trim().to_owned()),
            origin: origin.clone(),
        };
        let list = text.split(',').map(entry).collect();
        read(Reader(&Entry {
            node: Node::List(list),
            origin: origin.clone(),
        }))
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.0.node {
            Node::Table(table) => visitor.visit_map(Entries {
                rest: table.iter(),
                current: None,
            }),
            Node::List(list) => visitor.visit_seq(Elements {
                rest: list.iter().enumerate(),
            }),
            Node::Bool(value) => visitor.visit_bool(*value),
            Node::Integer(number) => visitor.visit_i64(*number),
            Node::Large(number) => match number.parse() {
                Ok(number) => visitor.visit_u64(number),
                Err(_) => Err(ReadError::custom("the number is out of range")),
            },
            Node::Float(number) => visitor.visit_f64(*number),
            Node::Text(text) => visitor.visit_str(text),
            Node::Raw(text) => self.resolved(text, |reader| reader.deserialize_any(visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.0.node {
            Node::Raw(text) => visitor.visit_str(text),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.0.node {
            Node::Raw(text) => self.listed(text, |reader| reader.deserialize_any(visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.0.node {
            Node::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Node::Raw(text) if text.trim_start().starts_with('{') => {
                self.resolved(text, |reader| reader.deserialize_enum("", &[], visitor))
            }
            Node::Raw(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Node::Table(table) => visitor.visit_enum(chosen(table)?),
            other => Err(ReadError::custom(format!(
                "expected a text or a table, found {}",
                other.what()
            ))),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit
        unit_struct map struct identifier ignored_any
    }
}

struct Entries<'a> {
    rest: std::collections::btree_map::Iter<'a, String, Entry>,
    current: Option<(&'a str, &'a Entry)>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        let Some((key, entry)) = self.rest.next() else {
            return Ok(None);
        };
        self.current = Some((key, entry));
        let read = seed.deserialize(StrDeserializer::new(key));
        read.map(Some)
            .map_err(|error: ReadError| error.at(Step::Key(key.clone())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let (key, entry) = self.current.take().expect("serde asks for a key first");
        seed.deserialize(Reader(entry))
            .map_err(|error| error.at(Step::Key(key.to_owned())))
    }
}

struct Elements<'a> {
    rest: std::iter::Enumerate<std::slice::Iter<'a, Entry>>,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some((index, entry)) = self.rest.next() else {
            return Ok(None);
        };
        seed.deserialize(Reader(entry))
            .map(Some)
            .map_err(|error| error.at(Step::Index(index)))
    }
}

/// The only key of a table that chooses between its keys; one of the environment goes before those
/// of a file.
fn chosen(table: &Table) -> Result<Variant<'_>, ReadError> {
    let is_variable = |entry: &Entry| matches!(entry.origin, Origin::Variable(_));
    let has_variable = table.values().any(is_variable);
    let entries: Vec<_> = table
        .iter()
        .filter(|(_, entry)| is_variable(entry) == has_variable)
        .collect();
    if let [(key, entry)] = entries[..] {
        return Ok(Variant { key, entry });
    }
    let keys: Vec<_> = entries
        .into_iter()
        .map(|(key, _)| format!("`{key}`"))
        .collect();
    let found = if keys.is_empty() {
        "none".to_owned()
    } else {
        keys.join(" and ")
    };
    Err(ReadError::custom(format!(
        "expected one key, found {found}"
    )))
}

/// A table whose only key is the name of a variant.
struct Variant<'a> {
    key: &'a str,
    entry: &'a Entry,
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        let read = seed
            .deserialize(StrDeserializer::new(self.key))
            .map_err(|error: ReadError| {
                // Written as a key, it is one.
                let why = match error.why {
                    Why::UnknownValue { known, .. } => Why::UnknownKey { known },
                    why => why,
                };
                ReadError::new(why).at(Step::Key(self.key.to_owned()))
            });
        Ok((read?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        Err(ReadError::custom(format!(
            "write \"{}\" alone: it has no value",
            self.key
        )))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        seed.deserialize(Reader(self.entry))
            .map_err(|error| error.at(Step::Key(self.key.to_owned())))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        Reader(self.entry)
            .deserialize_seq(visitor)
            .map_err(|error| error.at(Step::Key(self.key.to_owned())))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        Reader(self.entry)
            .deserialize_any(visitor)
            .map_err(|error| error.at(Step::Key(self.key.to_owned())))
    }
}
