//! A statement in the making: text and parameters together, so that they cannot drift apart.

use std::time::Duration;

use sea_orm::{Statement, Value};

use super::Dialect;

/// The longest distance from now, 100 years. A time further away is moved to it, because a database
/// may be unable to store it.
const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A statement in the making.
#[derive(Debug)]
pub(crate) struct Sql {
    dialect: &'static dyn Dialect,
    text: String,
    values: Vec<Value>,
}

impl Sql {
    pub(crate) fn new(dialect: &'static dyn Dialect, text: &str) -> Self {
        let mut sql = Self {
            dialect,
            text: String::with_capacity(512),
            values: Vec::new(),
        };
        sql.text.push_str(text);
        sql
    }

    /// Appends text.
    pub(crate) fn push(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    /// Appends a parameter.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self.dialect.placeholder(self.values.len(), &mut self.text);
        self
    }

    /// Appends the time that lies so far ahead by the database's clock.
    pub(crate) fn after(self, wait: Duration) -> Self {
        self.in_micros(micros(wait))
    }

    /// Appends the time that lies so far back by the database's clock.
    pub(crate) fn before(self, age: Duration) -> Self {
        self.in_micros(-micros(age))
    }

    fn in_micros(mut self, micros: i64) -> Self {
        self.values.push(micros.into());
        let mut placeholder = String::new();
        self.dialect
            .placeholder(self.values.len(), &mut placeholder);
        self.dialect.after_micros(&placeholder, &mut self.text);
        self
    }

    /// Appends a test whether what stands before is one of the numbers: ` IN (…)` or what the back
    /// end does better.
    pub(crate) fn one_of(mut self, numbers: Vec<i64>) -> Self {
        let dialect = self.dialect;
        dialect.one_of(numbers, &mut self.text, &mut self.values);
        self
    }

    /// Appends what another closure appends, if there is anything to say.
    pub(crate) fn when(self, condition: bool, more: impl FnOnce(Self) -> Self) -> Self {
        if condition { more(self) } else { self }
    }

    pub(crate) fn build(self) -> Statement {
        Statement::from_sql_and_values(self.dialect.backend(), self.text, self.values)
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.min(FAR).as_micros()).expect("it is not that far")
}
