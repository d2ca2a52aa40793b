//! Values of an event, and their comparison with the operands of conditions.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::condition::{Literal, Scalar};
use super::number::Number;

/// A value of an event. A text that is a decimal number is a number.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Number(Number<'a>),
    Text(Cow<'a, str>),
    /// A list, an object, or a text with half of a surrogate pair: present, and equal to nothing.
    Other,
}

impl<'a> Value<'a> {
    pub(super) fn text(text: Cow<'a, str>) -> Self {
        match text {
            Cow::Borrowed(text) => {
                Number::decimal(text).map_or(Self::Text(Cow::Borrowed(text)), Self::Number)
            }
            Cow::Owned(text) => match Number::decimal(&text).map(Number::into_owned) {
                Some(number) => Self::Number(number),
                None => Self::Text(Cow::Owned(text)),
            },
        }
    }

    /// Reads a value from JSON without surrounding blanks.
    pub(super) fn json(raw: &'a str) -> Self {
        match raw.as_bytes() {
            [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => {
                Self::text(Cow::Borrowed(&raw[1..raw.len() - 1]))
            }
            [b'"', ..] => {
                serde_json::from_str(raw).map_or(Self::Other, |text| Self::text(Cow::Owned(text)))
            }
            [b't', ..] => Self::Bool(true),
            [b'f', ..] => Self::Bool(false),
            [b'n', ..] => Self::Null,
            _ => Number::json(raw).map_or(Self::Other, Self::Number),
        }
    }

    pub(super) fn equals(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Self::Null, Value::Null) => true,
            (Self::Bool(a), Value::Bool(b)) => a == b,
            _ => self.order(other) == Some(Ordering::Equal),
        }
    }

    /// The order of two values; `None` between a number and a text, and for booleans.
    pub(super) fn order(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), Value::Number(b)) => Some(a.cmp(b)),
            (Self::Text(a), Value::Text(b)) => Some((**a).cmp(&**b)),
            _ => None,
        }
    }
}

impl Literal {
    /// The value of the literal; `None` for an infinite number or NaN.
    pub(super) fn value(&self) -> Option<Value<'static>> {
        Some(match &self.0 {
            Scalar::Null => Value::Null,
            Scalar::Bool(value) => Value::Bool(*value),
            Scalar::Number(text) => Value::Number(Number::json(text)?.into_owned()),
            Scalar::Text(text) => Value::text(Cow::Owned(text.clone())),
        })
    }
}
