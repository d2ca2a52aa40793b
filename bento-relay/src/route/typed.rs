//! Parts of the rules that serde reads: each fault with its path, all of them at once.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess,
    SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::condition::Scalar;
use super::error::{Faults, RouterFault};
use super::tree::Tree;
use crate::reading::{KeyPath, ReadError, Step, Why};

/// Reads a value as its type reads itself. A part that does not fit is reported and taken out, so
/// that the parts behind it are read too; a fault that follows from that is not reported.
pub(super) fn typed<T: DeserializeOwned>(mut tree: Tree, faults: &mut Faults) -> Option<T> {
    let mut reported: Vec<KeyPath> = Vec::new();
    loop {
        let (path, why) = match T::deserialize(Reader(&tree)) {
            Ok(value) => return reported.is_empty().then_some(value),
            Err(error) => error.into_parts(),
        };
        if !reported.iter().any(|inner| inner.is_within(&path)) {
            let fault = fault(why, path.steps().last());
            faults.within(path.steps(), |faults| faults.add(fault));
        }
        if !take_out(&mut tree, path.steps()) {
            return None;
        }
        reported.push(path);
    }
}

fn fault(why: Why, last: Option<&Step>) -> RouterFault {
    match why {
        Why::UnknownKey { known } => RouterFault::UnknownKey {
            key: match last {
                Some(Step::Key(key)) => key.clone(),
                _ => String::new(),
            },
            known: known.to_vec(),
        },
        Why::UnknownValue { meant, known } => {
            let known = bento_core::names::Listed(known);
            let hint = bento_core::names::Hint(meant);
            RouterFault::Invalid {
                reason: format!("must be one of {known}{hint}"),
            }
        }
        Why::Missing { key } => RouterFault::Missing { key },
        Why::Duplicate { key } => RouterFault::Duplicate {
            name: key.to_owned(),
        },
        Why::Invalid { reason } => RouterFault::Invalid { reason },
    }
}

/// Takes out the value at a path, or the list that it is in. False if that is the whole.
fn take_out(tree: &mut Tree, path: &[Step]) -> bool {
    let (Tree::Map(entries), [Step::Key(key), rest @ ..]) = (tree, path) else {
        return false;
    };
    let Some(at) = entries.iter().position(|(name, _)| name == key) else {
        return false;
    };
    if !take_out(&mut entries[at].1, rest) {
        entries.remove(at);
    }
    true
}

struct Reader<'a>(&'a Tree);

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.0 {
            Tree::Scalar(Scalar::Null) => visitor.visit_unit(),
            Tree::Scalar(Scalar::Bool(value)) => visitor.visit_bool(*value),
            Tree::Scalar(Scalar::Text(text)) => visitor.visit_str(text),
            Tree::Scalar(Scalar::Number(text)) => match (text.parse(), text.parse()) {
                (Ok(number), _) => visitor.visit_u64(number),
                (_, Ok(number)) => visitor.visit_i64(number),
                _ => Err(ReadError::custom("the number is out of range")),
            },
            Tree::Float(value) => visitor.visit_f64(*value),
            Tree::List(list) => visitor.visit_seq(Elements(list.iter().enumerate())),
            Tree::Map(entries) => visitor.visit_map(Entries {
                rest: entries.iter(),
                current: None,
            }),
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
        match self.0 {
            Tree::Scalar(Scalar::Text(text)) => {
                visitor.visit_enum(text.as_str().into_deserializer())
            }
            other => Err(ReadError::custom(format!(
                "expected a text, found {}",
                other.what()
            ))),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Entries<'a> {
    rest: std::slice::Iter<'a, (String, Tree)>,
    current: Option<&'a (String, Tree)>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        self.current = self.rest.next();
        let Some((key, _)) = self.current else {
            return Ok(None);
        };
        seed.deserialize(StrDeserializer::<ReadError>::new(key))
            .map(Some)
            .map_err(|error| error.at(key.as_str().into()))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let (key, tree) = self.current.take().expect("serde asks for a key first");
        seed.deserialize(Reader(tree))
            .map_err(|error| error.at(key.as_str().into()))
    }
}

struct Elements<'a>(std::iter::Enumerate<std::slice::Iter<'a, Tree>>);

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some((index, tree)) = self.0.next() else {
            return Ok(None);
        };
        seed.deserialize(Reader(tree))
            .map(Some)
            .map_err(|error| error.at(Step::Index(index)))
    }
}
