//! The tree of values that a format of serde holds, read before it is interpreted, so that all
//! faults can be reported at once.

use std::fmt;

use bento_core::duration;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::condition::{Literal, Scalar, float};
use super::error::{Faults, RouterFault};

/// The key under which serde_json hands over a number when a crate of the program enables
/// `arbitrary_precision`.
const NUMBER_AS_TEXT: &str = "$serde_json::private::Number";

const ROUNDED: &str = "the number has too many digits and would be rounded: write it as a text";

/// The first integer from which floating point numbers skip integers.
const INTEGERS_END: f64 = 9_007_199_254_740_992.0;

/// A value of any format.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    Scalar(Scalar),
    /// A number with a point or an exponent. The format may have rounded it.
    Float(f64),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Tree {
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Scalar(Scalar::Null) => "null",
            Self::Scalar(Scalar::Bool(_)) => "a boolean",
            Self::Scalar(Scalar::Number(_)) | Self::Float(_) => "a number",
            Self::Scalar(Scalar::Text(_)) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a table",
        }
    }

    fn expected<T>(&self, what: &str, faults: &mut Faults) -> Option<T> {
        faults.invalid(format!("expected {what}, found {}", self.what()));
        None
    }

    pub(super) fn text(self, faults: &mut Faults) -> Option<String> {
        match self {
            Self::Scalar(Scalar::Text(text)) => Some(text),
            other => other.expected("a text", faults),
        }
    }

    pub(super) fn bool(self, faults: &mut Faults) -> Option<bool> {
        match self {
            Self::Scalar(Scalar::Bool(value)) => Some(value),
            other => other.expected("true or false", faults),
        }
    }

    pub(super) fn float(self, faults: &mut Faults) -> Option<f64> {
        match &self {
            Self::Scalar(Scalar::Number(text)) => text.parse().ok(),
            Self::Float(value) => Some(*value),
            other => other.expected("a number", faults),
        }
    }

    pub(super) fn integer(self, faults: &mut Faults) -> Option<u32> {
        match &self {
            Self::Scalar(Scalar::Number(text)) if text.parse::<u32>().is_ok() => text.parse().ok(),
            other => other.expected("a whole number", faults),
        }
    }

    pub(super) fn duration(self, faults: &mut Faults) -> Option<std::time::Duration> {
        let text = match self {
            Self::Scalar(Scalar::Text(text)) => text,
            other => return other.expected("a duration as in \"30s\" or \"1h30m\"", faults),
        };
        duration::parse(&text)
            .map_err(|error| faults.invalid(error.to_string()))
            .ok()
    }

    /// A text, or several.
    pub(super) fn texts(self, faults: &mut Faults) -> Vec<String> {
        match self {
            Self::Scalar(Scalar::Text(text)) => vec![text],
            list => list.each(faults, Self::text),
        }
    }

    /// Reads each element of a list.
    pub(super) fn each<T>(
        self,
        faults: &mut Faults,
        read: impl Fn(Self, &mut Faults) -> Option<T>,
    ) -> Vec<T> {
        let Self::List(elements) = self else {
            self.expected::<()>("a list", faults);
            return Vec::new();
        };
        let indexed = elements.into_iter().enumerate();
        indexed
            .filter_map(|(index, element)| faults.at_index(index, |faults| read(element, faults)))
            .collect()
    }

    pub(super) fn literal(self, faults: &mut Faults) -> Option<Literal> {
        match self {
            Self::Scalar(Scalar::Number(text)) => Some(Literal::number(text)),
            Self::Scalar(scalar) => Some(Literal(scalar)),
            Self::Float(value) => {
                let text = value.to_string();
                if float(&text).is_none() {
                    faults.invalid(ROUNDED);
                    return None;
                }
                Some(Literal::number(text))
            }
            Self::List(_) => self.expected("one value (several are compared with by `in`)", faults),
            Self::Map(_) => self.expected("a value", faults),
        }
    }

    /// The entries of a table, in their order. A repeated key is a fault.
    pub(super) fn entries(self, faults: &mut Faults) -> Vec<(String, Self)> {
        let Self::Map(entries) = self else {
            self.expected::<()>("a table", faults);
            return Vec::new();
        };
        for (index, (key, _)) in entries.iter().enumerate() {
            if entries[..index].iter().any(|(before, _)| before == key) {
                faults.at(key, |faults| {
                    faults.add(RouterFault::Duplicate { name: key.clone() })
                });
            }
        }
        entries
    }

    /// The fields of a table that allows only these keys.
    pub(super) fn fields(self, known: &[&'static str], faults: &mut Faults) -> Fields {
        let mut fields = Fields(self.entries(faults));
        fields.0.retain(|(key, _)| {
            let is_known = known.contains(&key.as_str());
            if !is_known {
                let fault = RouterFault::UnknownKey {
                    key: key.clone(),
                    known: known.to_vec(),
                };
                faults.at(key, |faults| faults.add(fault));
            }
            is_known
        });
        fields
    }

    /// The value as JSON, with every digit.
    pub(super) fn json(self, faults: &mut Faults) -> Option<serde_json::Value> {
        use serde_json::Value;
        Some(match self {
            Self::Scalar(Scalar::Null) => Value::Null,
            Self::Scalar(Scalar::Bool(value)) => Value::Bool(value),
            Self::Scalar(Scalar::Text(text)) => Value::String(text),
            Self::Scalar(Scalar::Number(text)) => serde_json::from_str(&text).ok()?,
            Self::Float(value) if value.abs() < INTEGERS_END => value.into(),
            Self::Float(_) => {
                faults.invalid(ROUNDED);
                return None;
            }
            list @ Self::List(_) => Value::Array(list.each(faults, Self::json)),
            map @ Self::Map(_) => {
                let entries = map.entries(faults).into_iter();
                let read = |(key, value): (String, Self)| {
                    let value = faults.at(&key, |faults| value.json(faults))?;
                    Some((key, value))
                };
                Value::Object(entries.filter_map(read).collect())
            }
        })
    }
}

/// The fields of a table.
#[derive(Debug)]
pub(super) struct Fields(Vec<(String, Tree)>);

impl Fields {
    /// Reads the field of this name if it is there.
    pub(super) fn read<T>(
        &mut self,
        key: &str,
        faults: &mut Faults,
        read: impl FnOnce(Tree, &mut Faults) -> T,
    ) -> Option<T> {
        let at = self.0.iter().position(|(name, _)| name == key)?;
        let (_, tree) = self.0.swap_remove(at);
        Some(faults.at(key, |faults| read(tree, faults)))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(name, _)| name == key)
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl TreeVisitor {
    fn number<E>(self, number: impl ToString) -> Result<Tree, E> {
        Ok(Tree::Scalar(Scalar::Number(number.to_string())))
    }
}

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(Scalar::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        self.number(value)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        self.number(value)
    }

    fn visit_i128<E>(self, value: i128) -> Result<Tree, E> {
        self.number(value)
    }

    fn visit_u128<E>(self, value: u128) -> Result<Tree, E> {
        self.number(value)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(Scalar::Text(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Scalar::Null))
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Scalar::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(Tree::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries: Vec<(String, Tree)> = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(match entries.as_slice() {
            [(key, Tree::Scalar(Scalar::Text(number)))] if key == NUMBER_AS_TEXT => {
                Tree::Scalar(Scalar::Number(number.clone()))
            }
            _ => Tree::Map(entries),
        })
    }
}
