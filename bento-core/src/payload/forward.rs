//! A payload of an earlier version, read field by field under the names of today.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::fmt;
use std::mem;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor,
};
use serde_json::de::StrRead;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::as_text;
use super::error::UpcastFault;
use super::fields::{Name, RawFields};
use super::history::{Addition, Step};
use super::path::fault_path;

/// Reads a payload of this version as an `E`, by the history of the fields of `E` since.
pub(crate) fn read_forward<E: DeserializeOwned>(
    payload: &[u8],
    version: u32,
    history: &'static [Step],
) -> Result<E, UpcastFault> {
    let way = Way::since(version, history);
    let mut json = serde_json::Deserializer::from_str(as_text(payload)?);
    let mut place = Place::default();
    let read = E::deserialize(Forward {
        json: &mut json,
        way: &way,
        place: &mut place,
    });
    match read.and_then(|event| json.end().map(|()| event)) {
        Ok(event) => Ok(event),
        Err(source) => Err(place.fault(payload, source)),
    }
}

/// The steps between the version of a payload and today.
struct Way {
    steps: &'static [Step],
    /// The fields that the steps add, in the order of the steps.
    added: SmallVec<[Added; 2]>,
}

/// A field that a step adds.
struct Added {
    /// The number of the step on the way.
    step: usize,
    addition: &'static Addition,
    /// True if the payload has a field of that name: it keeps its value over the default.
    is_there: Cell<bool>,
    /// The default, once it is evaluated.
    value: OnceCell<Box<RawValue>>,
}

/// The name of today of a field.
#[derive(Clone, Copy)]
enum Today {
    Same,
    Renamed(&'static str),
    Removed,
}

impl Today {
    /// The name of a field that was stored under this one.
    fn of(self, stored: &str) -> &str {
        if let Self::Renamed(name) = self {
            name
        } else {
            stored
        }
    }
}

impl Way {
    fn since(version: u32, history: &'static [Step]) -> Self {
        let past = history.iter().take_while(|step| step.to <= version).count();
        let mut way = Self {
            steps: &history[past..],
            added: SmallVec::new(),
        };
        for (number, step) in way.steps.iter().enumerate() {
            for addition in step.added {
                let (is_there, value) = (Cell::default(), OnceCell::new());
                way.added.push(Added {
                    step: number,
                    addition,
                    is_there,
                    value,
                });
            }
        }
        way
    }

    /// The name of today of a field that is called so before the step with this number.
    ///
    /// A step removes first, renames all at once, and then adds: so a freed name can be given to
    /// another field.
    fn today(&self, stored: &str, from: usize) -> Today {
        let mut today = Today::Same;
        for (number, step) in self.steps.iter().enumerate().skip(from) {
            let name = today.of(stored);
            if step.removed.contains(&name) {
                return Today::Removed;
            }
            if let Some((_, to)) = step.renamed.iter().find(|(before, _)| *before == name) {
                today = Today::Renamed(to);
            }
            if !step.added.is_empty() {
                self.note(number, today.of(stored));
            }
        }
        today
    }

    /// Notes that the payload has a field of this name, which the step with this number may add.
    fn note(&self, step: usize, name: &str) {
        for added in self
            .added
            .iter()
            .filter(|added| added.step == step && added.addition.name == name)
        {
            added.is_there.set(true);
        }
    }

    /// The first addition from this one on that the payload lacks and no later step removes, with
    /// its number and its name of today.
    fn lacking(&self, from: usize) -> Option<(usize, &Added, &'static str)> {
        self.added
            .iter()
            .enumerate()
            .skip(from)
            .filter(|(_, added)| !added.is_there.get())
            .find_map(|(number, added)| {
                let name = added.addition.name;
                match self.today(name, added.step + 1) {
                    Today::Removed => None,
                    today => Some((number, added, today.of(name))),
                }
            })
    }
}

/// The field that is being read, for the error.
#[derive(Default)]
struct Place<'de> {
    field: Option<Field<'de>>,
    /// The fault of a default, if one could not be read.
    fault: Option<UpcastFault>,
}

/// A field of the payload.
struct Field<'de> {
    stored: Cow<'de, str>,
    today: Today,
}

impl Place<'_> {
    fn fault(self, payload: &[u8], source: serde_json::Error) -> UpcastFault {
        self.fault.unwrap_or_else(|| {
            UpcastFault::new(
                self.field.and_then(|field| field.path(payload, &source)),
                source,
            )
        })
    }
}

impl Field<'_> {
    /// The path of the value at fault. Text that is not JSON has no path.
    fn path(&self, payload: &[u8], source: &serde_json::Error) -> Option<String> {
        RawFields::split(payload).ok()?;
        let path = fault_path(payload, source);
        let below = path
            .as_deref()
            .and_then(|path| path.strip_prefix(&*self.stored))
            .unwrap_or_default();
        Some(format!("{}{below}", self.today.of(&self.stored)))
    }
}

/// The fault of a default, which was to be read under this name.
fn fault_of_default(name: &str, value: &[u8], source: serde_json::Error) -> UpcastFault {
    let path = match fault_path(value, &source) {
        Some(below) if below.starts_with('[') => format!("{name}{below}"),
        Some(below) => format!("{name}.{below}"),
        None => name.to_owned(),
    };
    UpcastFault::new(Some(path), source)
}

/// The whole payload.
struct Forward<'de, 'r> {
    json: &'r mut serde_json::Deserializer<StrRead<'de>>,
    way: &'de Way,
    place: &'r mut Place<'de>,
}

impl<'de> Deserializer<'de> for Forward<'de, '_> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.json.deserialize_map(Object {
            visitor,
            way: self.way,
            place: self.place,
        })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        option unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

struct Object<'de, 'r, V> {
    visitor: V,
    way: &'de Way,
    place: &'r mut Place<'de>,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Object<'de, '_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, stored: A) -> Result<Self::Value, A::Error> {
        let Self {
            visitor,
            way,
            place,
        } = self;
        visitor.visit_map(Fields {
            stored,
            way,
            place,
            lacking: 0,
            next: Next::Nothing,
        })
    }
}

/// The fields of the payload under the names of today, and then those that were added since.
struct Fields<'de, 'r, A> {
    stored: A,
    way: &'de Way,
    place: &'r mut Place<'de>,
    /// The addition to look at next.
    lacking: usize,
    next: Next<'de>,
}

/// The value behind a key.
enum Next<'de> {
    Nothing,
    Stored(Field<'de>),
    Default(&'static str, &'de [u8]),
}

impl<'de, A: MapAccess<'de>> Fields<'de, '_, A> {
    /// The next key and its value, under the name of today.
    fn advance(&mut self) -> Result<Next<'de>, A::Error> {
        while let Some(Name(stored)) = self.stored.next_key()? {
            match self.way.today(&stored, 0) {
                Today::Removed => self.stored.next_value::<IgnoredAny>()?,
                today => return Ok(Next::Stored(Field { stored, today })),
            };
        }
        let Some((
            number,
            Added {
                addition, value, ..
            },
            name,
        )) = self.way.lacking(self.lacking)
        else {
            return Ok(Next::Nothing);
        };
        self.lacking = number + 1;
        match (addition.default)() {
            Ok(default) => Ok(Next::Default(
                name,
                value.get_or_init(|| default).get().as_bytes(),
            )),
            Err(source) => {
                Err(self.refuse(UpcastFault::new(Some(addition.name.to_owned()), source)))
            }
        }
    }

    /// Keeps the fault of a default: an error of the payload would name a place in the payload.
    fn refuse(&mut self, fault: UpcastFault) -> A::Error {
        self.place.fault = Some(fault);
        A::Error::custom("a default cannot be read")
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Fields<'de, '_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Self::Error> {
        self.next = self.advance()?;
        let name = match &self.next {
            Next::Nothing => return Ok(None),
            Next::Stored(Field { stored, today }) => today.of(stored),
            Next::Default(name, _) => name,
        };
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, Self::Error> {
        match mem::replace(&mut self.next, Next::Nothing) {
            Next::Nothing => Err(Self::Error::custom("a value was asked for before its key")),
            Next::Stored(field) => {
                self.place.field = Some(field);
                let value = self.stored.next_value_seed(seed)?;
                self.place.field = None;
                Ok(value)
            }
            Next::Default(name, default) => {
                match seed.deserialize(&mut serde_json::Deserializer::from_slice(default)) {
                    Ok(value) => Ok(value),
                    Err(source) => Err(self.refuse(fault_of_default(name, default, source))),
                }
            }
        }
    }
}
