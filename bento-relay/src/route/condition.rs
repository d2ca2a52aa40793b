//! What an event has to be like for a rule.

use std::borrow::Cow;

/// What an event has to be like: tests of its envelope and its payload, and `all`, `any` and `not`
/// of them.
///
/// A test of a path that the event does not have is false, whatever the operator; only
/// `exists = false` is true of it, and `not` of a test.
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
    /// Each of them holds.
    All(Vec<Condition>),
    /// At least one of them holds.
    Any(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
    /// A test of one value.
    Test {
        /// Where the value is: `payload.customer.country`, `payload.lines[0].price`,
        /// `envelope.tenant`.
        path: String,
        /// What is asked of it.
        test: Test,
    },
}

/// What is asked of one value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Test {
    /// Equal. Numbers and texts that are decimal numbers are compared by value: `"10.0"` is 10.
    Eq(Literal),
    /// There, and not equal.
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
    /// Equal to one of them.
    In(Vec<Literal>),
    /// There, and equal to none of them.
    Nin(Vec<Literal>),
    /// Whether it is there; `null` is there.
    Exists(bool),
}

/// A value that a condition compares with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Literal(pub(super) Scalar);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    /// As it is written; only what JSON and TOML can carry without rounding, else it is a text.
    Number(String),
    Text(String),
}

/// A value of an event, to be tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field(String);

/// The value at `path`: `payload.customer.country`, `payload.lines[0].price`, `envelope.tenant`,
/// `envelope.headers.region`.
pub fn field(path: impl Into<String>) -> Field {
    Field(path.into())
}

impl Condition {
    /// Each of them holds.
    pub fn all(conditions: impl IntoIterator<Item = Self>) -> Self {
        Self::All(conditions.into_iter().collect())
    }

    /// At least one of them holds.
    pub fn any(conditions: impl IntoIterator<Item = Self>) -> Self {
        Self::Any(conditions.into_iter().collect())
    }

    /// Both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::All(vec![self, other])
    }

    /// One of both holds.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self::Any(vec![self, other])
    }
}

/// It does not hold.
impl std::ops::Not for Condition {
    type Output = Self;

    fn not(self) -> Self {
        Self::Not(Box::new(self))
    }
}

impl Field {
    /// Equal; decimal numbers, as numbers or texts, by value.
    pub fn eq(self, value: impl Into<Literal>) -> Condition {
        self.test(Test::Eq(value.into()))
    }

    /// There, and not equal.
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

    /// Equal to one of them.
    pub fn is_in<L: Into<Literal>>(self, values: impl IntoIterator<Item = L>) -> Condition {
        self.test(Test::In(values.into_iter().map(Into::into).collect()))
    }

    /// There, and equal to none of them.
    pub fn not_in<L: Into<Literal>>(self, values: impl IntoIterator<Item = L>) -> Condition {
        self.test(Test::Nin(values.into_iter().map(Into::into).collect()))
    }

    /// There, be it `null`.
    pub fn exists(self) -> Condition {
        self.test(Test::Exists(true))
    }

    /// Not there.
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

    /// A number, if every format carries it as it is, else the text that has its value.
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

/// The floating point number that is written like this, if every parser reads it back as it is: up
/// to 15 digits, and not so large that its neighbours are whole numbers.
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

/// A number that is none is refused when the router is built.
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
