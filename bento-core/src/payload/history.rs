//! Payloads of earlier versions, brought forward field by field.

use std::borrow::Cow;

use serde::de::value::CowStrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::error::UpcastFault;
use super::fields::RawFields;
use super::path::fault_path;

/// The changes of one version to the fields. Not public API: written by the macro.
#[doc(hidden)]
#[derive(Debug)]
pub struct Step {
    /// The version this step arrives at.
    pub to: u32,
    /// Names that end here.
    pub removed: &'static [&'static str],
    /// Names before and after.
    pub renamed: &'static [(&'static str, &'static str)],
    /// Values for fields that begin here.
    pub added: &'static [Addition],
}

/// A field that a version added, and its value in payloads of before.
#[doc(hidden)]
#[derive(Debug)]
pub struct Addition {
    pub name: &'static str,
    pub default: fn() -> Result<Box<RawValue>, serde_json::Error>,
    /// Reads what `default` has written as the field.
    pub reads: fn(&RawValue) -> Result<(), serde_json::Error>,
}

impl<'a> RawFields<'a> {
    /// Takes an object of an earlier version apart, and goes through the steps since.
    pub(crate) fn brought_forward(
        payload: &'a [u8],
        version: u32,
        history: &[Step],
    ) -> Result<Self, UpcastFault> {
        let split = Self::split(payload);
        let mut fields = split.map_err(|source| UpcastFault::new(None, source))?;
        for step in history.iter().filter(|step| step.to > version) {
            fields.apply(step)?;
        }
        Ok(fields)
    }

    /// Does what one version changed: removals first, then renames all at once, then additions.
    ///
    /// The order lets a version give a freed name to another field. A field that is there keeps its
    /// value over a default.
    pub(crate) fn apply(&mut self, step: &Step) -> Result<(), UpcastFault> {
        self.0
            .retain(|(name, _)| !step.removed.contains(&name.as_ref()));
        for (name, _) in &mut self.0 {
            if let Some((_, to)) = step.renamed.iter().find(|(from, _)| from == name) {
                *name = Cow::Borrowed(to);
            }
        }
        for addition in step.added {
            if !self.0.iter().any(|(name, _)| name == addition.name) {
                let value = (addition.default)()
                    .map_err(|source| UpcastFault::new(Some(addition.name.to_owned()), source))?;
                self.0
                    .push((Cow::Borrowed(addition.name), Cow::Owned(value)));
            }
        }
        Ok(())
    }

    /// Reads the fields as an `E`.
    pub(crate) fn deserialize<E: DeserializeOwned>(&self) -> Result<E, UpcastFault> {
        let mut reading = None;
        let walk = Walk {
            fields: &self.0,
            next: 0,
            reading: &mut reading,
        };
        match E::deserialize(walk) {
            Ok(event) => Ok(event),
            Err(source) => Err(self.fault(reading, source)),
        }
    }

    fn fault(&self, reading: Option<usize>, source: serde_json::Error) -> UpcastFault {
        UpcastFault::new(self.path(reading, &source), source)
    }

    fn path(&self, reading: Option<usize>, source: &serde_json::Error) -> Option<String> {
        let (name, value) = self.0.get(reading?)?;
        Some(match fault_path(value.get().as_bytes(), source) {
            Some(below) if below.starts_with('[') => format!("{name}{below}"),
            Some(below) => format!("{name}.{below}"),
            None => name.clone().into_owned(),
        })
    }
}

/// Hands the fields to serde one by one and remembers which one it is reading, for the error.
struct Walk<'de, 'r> {
    fields: &'de [(Cow<'de, str>, Cow<'de, RawValue>)],
    next: usize,
    reading: &'r mut Option<usize>,
}

impl<'de> Deserializer<'de> for Walk<'de, '_> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_map(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Walk<'de, '_> {
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Self::Error> {
        *self.reading = None;
        match self.fields.get(self.next) {
            None => Ok(None),
            Some((name, _)) => seed
                .deserialize(CowStrDeserializer::new(Cow::Borrowed(name.as_ref())))
                .map(Some),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, Self::Error> {
        let Some((_, value)) = self.fields.get(self.next) else {
            return Err(serde_json::Error::custom(
                "a value was asked for before its key",
            ));
        };
        *self.reading = Some(self.next);
        self.next += 1;
        let value = seed.deserialize(value.as_ref())?;
        *self.reading = None;
        Ok(value)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.fields.len() - self.next)
    }
}
