//! The common part of reading settings and rules: the path of a value, and the fault that serde
//! finds there.

use std::fmt::{self, Display};

use bento_core::names::nearest;
use serde::de::{Expected, Unexpected};

/// One step from a value to one inside it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// To the value of a key.
    Key(String),
    /// To an element of a list.
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

/// The path from the whole of the settings or rules to a value.
///
/// ```
/// use bento_relay::route::{KeyPath, Step};
///
/// let path = KeyPath::from(["rules"]).join([Step::Index(2), "when".into()]);
/// assert_eq!(path.to_string(), "rules[2].when");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyPath(Vec<Step>);

impl KeyPath {
    /// The steps; none for the whole.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The path to a value within the value at this path.
    #[must_use]
    pub fn join(&self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.0.iter().cloned().chain(steps).collect()
    }

    /// True if the value at this path is the value at `outer`, or within it.
    pub fn is_within(&self, outer: &Self) -> bool {
        self.0.starts_with(&outer.0)
    }
}

impl FromIterator<Step> for KeyPath {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

impl<const N: usize> From<[&str; N]> for KeyPath {
    fn from(keys: [&str; N]) -> Self {
        keys.into_iter().map(Step::from).collect()
    }
}

/// The keys as they are, `rules[2].when.payload.total`.
impl Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A fault that serde found.
#[derive(Debug)]
pub struct ReadError {
    /// The fault.
    pub why: Why,
    /// The steps to the value, from the inside out.
    steps: Vec<Step>,
}

/// The kinds of faults that serde finds.
#[derive(Debug)]
pub enum Why {
    /// The last step of the path is not one of the keys.
    UnknownKey {
        /// The valid keys.
        known: &'static [&'static str],
    },
    /// The value is not one of the valid ones. It is not shown: it may be a secret in the wrong
    /// place.
    UnknownValue {
        /// The valid value with a similar name.
        meant: Option<&'static str>,
        /// The valid values.
        known: &'static [&'static str],
    },
    /// The value has no such key, which has to be there.
    Missing {
        /// The key.
        key: &'static str,
    },
    /// The last step of the path is a key that is there twice.
    Duplicate {
        /// The key.
        key: &'static str,
    },
    /// The value cannot be read as its type.
    Invalid {
        /// The rule that is broken.
        reason: String,
    },
}

impl ReadError {
    /// The fault at the value that is being read.
    pub fn new(why: Why) -> Self {
        let steps = Vec::new();
        Self { why, steps }
    }

    /// The same fault, seen from the value around it.
    #[must_use]
    pub fn at(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// The path, and the fault there.
    pub fn into_parts(self) -> (KeyPath, Why) {
        (self.steps.into_iter().rev().collect(), self.why)
    }
}

impl Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::UnknownKey { .. } => f.write_str("unknown key"),
            Why::UnknownValue { .. } => f.write_str("unknown value"),
            Why::Missing { key } => write!(f, "`{key}` is missing"),
            Why::Duplicate { key } => write!(f, "`{key}` is there twice"),
            Why::Invalid { reason } => f.write_str(reason),
        }
    }
}

impl std::error::Error for ReadError {}

/// No message shows a text that was read, unless the type itself does: it may be a secret.
impl serde::de::Error for ReadError {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(Why::Invalid {
            reason: message.to_string(),
        })
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format!(
            "expected {}, found {}",
            wanted(expected),
            kind(found)
        ))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let reason = match found {
            Unexpected::Signed(number) => format!("{number} is out of range"),
            Unexpected::Unsigned(number) => format!("{number} is out of range"),
            _ => format!("expected {}", wanted(expected)),
        };
        Self::custom(reason)
    }

    fn unknown_variant(value: &str, known: &'static [&'static str]) -> Self {
        Self::new(Why::UnknownValue {
            meant: nearest(value, known.iter().copied()),
            known,
        })
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::new(Why::UnknownKey { known })
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(Why::Missing { key })
    }

    fn duplicate_field(key: &'static str) -> Self {
        Self::new(Why::Duplicate { key }).at(key.into())
    }
}

fn kind(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
        Unexpected::Float(_) => "a number",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a table",
        Unexpected::Unit | Unexpected::Option => "null",
        _ => "a text",
    }
}

fn wanted(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "i8" | "i16" | "i32" | "i64" | "isize" | "u8" | "u16" | "u32" | "u64" | "usize" => {
            "a whole number".to_owned()
        }
        "f32" | "f64" => "a number".to_owned(),
        "a string" => "a text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        _ if text.starts_with("struct ") => "a table".to_owned(),
        _ => text,
    }
}
