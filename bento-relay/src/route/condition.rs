//! Conditions of rules.

use std::borrow::Cow;

/// A condition for events: tests of the envelope and the payload, combined by `all`, `any` and
/// `not`.
///
/// A test of a path that the event does not have is false for every operator but `exists = false`;
/// `not` of such a test is true.
///
/// ```
/// use bento_relay::route::{Condition, field};
///
/// let abroad = field("payload.customer.country").not_in(["DE", "AT"]);
/// let large = field("payload.total").gte(1000);
/// let worth_a_look = Condition::any([abroad, large]).and(field("envelope.tenant").exists());
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Condition {
    /// All of the conditions hold.
    All(Vec<Condition>),
    /// At least one of the conditions holds.
    Any(Vec<Condition>),
    /// The condition does not hold.
    Not(Box<Condition>),
    /// A test of one value.
    Test {
        /// The path of the value: `payload.customer.country`, `payload.lines[0].price`,
        /// `envelope.tenant`.
        path: String,
        /// The test.
        test: Test,
    },
}

/// The test of one value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Test {
    /// Equal. Numbers, and texts that are decimal numbers, are compared by value: `"10.0"` equals
    /// 10.
    Eq(Literal),
    /// Present, and not equal.
    Ne(Literal),
    /// Greater; numbers by value, texts by their characters, false between a number and another
    /// text.
    Gt(Literal),
    /// Greater or equal.
    Gte(Literal),
    /// Less.
    Lt(Literal),
    /// Less or equal.
    Lte(Literal),
    /// Equal to one of the values.
    In(Vec<Literal>),
    /// Present, and equal to none of the values.
    Nin(Vec<Literal>),
    /// Present, if true; absent, if false. `null` is present.
    Exists(bool),
}

/// The operand of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Literal(pub(super) Scalar);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    /// As it is written; only numbers that JSON and TOML carry without rounding, others are texts.
    Number(String),
    Text(String),
}

/// A value of an event, as the start of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field(String);

/// The value at `path`: `payload.customer.country`, `payload.lines[0].price`, `envelope.tenant`,
/// `envelope.headers.region`.
pub fn field(path: impl Into<String>) -> Field {
    Field(path.into())
}

impl Condition {
    /// True if all of the conditions hold.
    pub fn all(conditions: impl IntoIterator<Item = Self>) -> Self {
        Self::All(conditions.into_iter().collect())
    }

    /// True if at least one of the conditions holds.
    pub fn any(conditions: impl IntoIterator<Item = Self>) -> Self {
        Self::Any(conditions.into_iter().collect())
    }

    /// True if both conditions hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::All(vec![self, other])
    }

    /// True if one of the conditions holds.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self::Any(vec![self, other])
    }
}

/// True if the condition does not hold.
impl std::ops::Not for Condition {
    type Output = Self;

    fn not(self) -> Self {
        Self::Not(Box::new(self))
    }
}

impl Field {
    /// Equal; decimal numbers, as numbers or texts, are compared by value.
    pub fn eq(self, value: impl Into<Literal>) -> Condition {
        self.test(Test::Eq(value.into()))
    }

    /// Present, and not equal.
    pub fn ne(self, value: impl Into<Literal>) -> Condition {
        self.test(Test::Ne(value.into()))
    }

    /// Greater.
    pub fn gt(self, value: impl Into<Literal>) -> Condition {
        self.test(Test::Gt(value.into()))
    }

    /// Greater or equal.
    pub fn gte(self, value: impl Into<Literal>) -> Condition {
        self.test(Test::Gte(value.into()))
    }

    /// Less.
    pub fn lt(self, value: impl Into<Literal>) -> Condition {
        self.test(Test::Lt(value.into()))
    }

    /// Less or equal.
    pub fn lte(self, value: impl Into<Literal>) -> Condition {
        self.test(Test::Lte(value.into()))
    }

    /// Equal to one of the values.
    pub fn is_in<L: Into<Literal>>(self, values: impl IntoIterator<Item = L>) -> Condition {
        self.test(Test::In(values.into_iter().map(Into::into).collect()))
    }

    /// Present, and equal to none of the values.
    pub fn not_in<L: Into<Literal>>(self, values: impl IntoIterator<Item = L>) -> Condition {
        self.test(Test::Nin(values.into_iter().map(Into::into).collect()))
    }

    /// Present; `null` is present.
    pub fn exists(self) -> Condition {
        self.test(Test::Exists(true))
    }

    /// Absent.
    pub fn is_missing(self) -> Condition {
        self.test(Test::Exists(false))
    }

    fn test(self, test: Test) -> Condition {
        Condition::Test { path: self.0, test }
    }
}

impl Literal {
    /// `null`.
    pub const NULL: Self = Self(Scalar::Null);

    /// A number, if every format carries it unchanged, else the text with its value.
    pub(super) fn number(text: String) -> Self {
        let is_integer = |text: &str| text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok();
        let is_exact = is_integer(&text) || float(&text).is_some();
        Self(if is_exact {
            Scalar::Number(text)
        } else {
            Scalar::Text(text)
        })
    }
}

/// The floating point number of this text, if every parser reads it back unchanged: up to 15
/// digits, and below the size at which neighbours are whole numbers.
pub(super) fn float(text: &str) -> Option<f64> {
    const LARGEST: f64 = 9_007_199_254_740_992.0;
    const DIGITS_MAX: usize = 15;
    let digits = text
        .trim_start_matches(['-', '0', '.'])
        .bytes()
        .filter(u8::is_ascii_digit)
        .count();
    let value = text
        .parse::<f64>()
        .ok()
        .filter(|value| value.abs() < LARGEST && digits <= DIGITS_MAX);
    value.filter(|value| value.to_string() == text)
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl From<$number> for Literal {
            fn from(number: $number) -> Self {
                Self::number(number.to_string())
            }
        }
    )*};
}

numbers!(i8, i16, i32, i64, i128, u8, u16, u32, u64, u128, usize);

/// The number; an infinite one, or NaN, is an error when the router is built.
impl From<f64> for Literal {
    fn from(number: f64) -> Self {
        let text = number.to_string();
        if number.is_finite() {
            Self::number(text)
        } else {
            Self(Scalar::Number(text))
        }
    }
}

impl From<bool> for Literal {
    fn from(value: bool) -> Self {
        Self(Scalar::Bool(value))
    }
}

impl From<&str> for Literal {
    fn from(text: &str) -> Self {
        Self(Scalar::Text(text.to_owned()))
    }
}

impl From<String> for Literal {
    fn from(text: String) -> Self {
        Self(Scalar::Text(text))
    }
}

impl From<Cow<'_, str>> for Literal {
    fn from(text: Cow<'_, str>) -> Self {
        Self(Scalar::Text(text.into_owned()))
    }
}
