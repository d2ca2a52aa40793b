//! The prefix of the names of the tables, and the schema that they are in.

use std::fmt;
use std::str::FromStr;

/// The beginning of the names of Bento's tables, `bento_` unless you choose otherwise, and
/// optionally the database schema that the tables are in.
///
/// Two prefixes are two independent outboxes in one database, and so are two schemas.
///
/// Without a schema the database finds the tables: PostgreSQL along the `search_path` of the
/// session, MySQL and MariaDB in the database of the connection. With a schema every statement
/// names it, so that the tables are found whatever the `search_path` is. On MySQL and MariaDB a
/// schema is another database of the same server. SQLite has none, and refuses it with
/// [`Error::NoSchemas`](crate::Error::NoSchemas).
///
/// ```
/// use bento_seaorm::TablePrefix;
///
/// let prefix = TablePrefix::new("bento_")?.in_schema("billing")?;
/// assert_eq!((prefix.schema(), prefix.as_str()), (Some("billing"), "bento_"));
/// // The same as one text, for settings.
/// assert_eq!("billing.bento_".parse::<TablePrefix>()?, prefix);
/// assert_eq!(prefix.to_string(), "billing.bento_");
/// # Ok::<_, bento_seaorm::tables::InvalidTablePrefix>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TablePrefix {
    schema: Option<String>,
    prefix: String,
}

impl TablePrefix {
    /// The longest prefix in bytes, so that every name made of it fits into the 63 bytes of
    /// PostgreSQL.
    pub const MAX_LEN: usize = 30;

    /// The longest name of a schema in bytes, which is PostgreSQL's limit.
    pub const MAX_SCHEMA_LEN: usize = 63;

    /// A prefix of lower-case ASCII letters, digits and `_` that does not begin with a digit,
    /// written into SQL unquoted.
    ///
    /// # Errors
    /// [`InvalidTablePrefix::Prefix`] for anything else, and for a prefix longer than
    /// [`MAX_LEN`](Self::MAX_LEN).
    pub fn new(prefix: impl Into<String>) -> Result<Self, InvalidTablePrefix> {
        let prefix = prefix.into();
        let begins_well =
            prefix.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
        let is_identifier = prefix
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if begins_well && is_identifier && prefix.len() <= Self::MAX_LEN {
            Ok(Self {
                schema: None,
                prefix,
            })
        } else {
            Err(InvalidTablePrefix::Prefix { prefix })
        }
    }

    /// The same prefix in a schema, whose name is of ASCII letters, digits, `_` and `-`. The name
    /// is written into SQL in quotes: it is taken exactly as it is given, with upper and lower
    /// case, and may be a word that is reserved.
    ///
    /// The schema has to be there: [`migrate_with`](crate::migrate_with) does not create it, and
    /// answers with [`Error::NoSchema`](crate::Error::NoSchema) without it.
    ///
    /// # Errors
    /// [`InvalidTablePrefix::Schema`] for anything else, and for a name longer than
    /// [`MAX_SCHEMA_LEN`](Self::MAX_SCHEMA_LEN).
    pub fn in_schema(mut self, schema: impl Into<String>) -> Result<Self, InvalidTablePrefix> {
        let schema = schema.into();
        let is_name = schema
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if is_name && (1..=Self::MAX_SCHEMA_LEN).contains(&schema.len()) {
            self.schema = Some(schema);
            Ok(self)
        } else {
            Err(InvalidTablePrefix::Schema { schema })
        }
    }

    /// The prefix as text, without the schema.
    pub fn as_str(&self) -> &str {
        &self.prefix
    }

    /// The schema of the tables, if one is named.
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }
}

impl TablePrefix {
    /// The same prefix where the connection leads to.
    pub(crate) fn without_schema(&self) -> Self {
        Self {
            schema: None,
            prefix: self.prefix.clone(),
        }
    }
}

impl Default for TablePrefix {
    fn default() -> Self {
        Self {
            schema: None,
            prefix: "bento_".to_owned(),
        }
    }
}

/// The written form: `bento_`, or `billing.bento_` with a schema.
impl fmt::Display for TablePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        f.write_str(&self.prefix)
    }
}

/// Reads the written form: `bento_`, or `billing.bento_` with a schema.
impl FromStr for TablePrefix {
    type Err = InvalidTablePrefix;

    fn from_str(written: &str) -> Result<Self, Self::Err> {
        match written.rsplit_once('.') {
            Some((schema, prefix)) => Self::new(prefix)?.in_schema(schema),
            None => Self::new(written),
        }
    }
}

/// Reads the written form, as [`FromStr`] does.
impl TryFrom<&str> for TablePrefix {
    type Error = InvalidTablePrefix;

    fn try_from(written: &str) -> Result<Self, Self::Error> {
        written.parse()
    }
}

/// Reads the written form, as [`FromStr`] does: for `#[serde(try_from = "String")]`.
impl TryFrom<String> for TablePrefix {
    type Error = InvalidTablePrefix;

    fn try_from(written: String) -> Result<Self, Self::Error> {
        written.parse()
    }
}

/// A table prefix that cannot begin a table name, or a schema that cannot be named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTablePrefix {
    /// The prefix cannot begin a table name.
    #[error(
        "`{prefix}` cannot begin a table name; use at most {} lower-case letters, digits and `_`, \
         not beginning with a digit, and name a schema with `in_schema`, or before a dot in \
         settings: `billing.bento_`",
        TablePrefix::MAX_LEN
    )]
    Prefix {
        /// The given value.
        prefix: String,
    },
    /// The schema has a name that Bento does not write into SQL.
    #[error(
        "`{schema}` cannot name the schema of the tables; use 1 to {} ASCII letters, digits, `_` \
         and `-`, without quotes, or rename the schema",
        TablePrefix::MAX_SCHEMA_LEN
    )]
    Schema {
        /// The given value.
        schema: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_plain_identifier() {
        for good in ["bento_", "sales_bento_", "_x", "a1_"] {
            assert!(TablePrefix::new(good).is_ok(), "{good}");
        }
        let too_long = "a".repeat(TablePrefix::MAX_LEN + 1);
        for bad in [
            "",
            "1a",
            "Bento_",
            "a-b",
            "a b",
            "a;drop table x",
            "a\"",
            "ä_",
            "public.",
            "a.bento_",
            &too_long,
        ] {
            let refused = TablePrefix::new(bad).expect_err(bad);
            assert!(refused.to_string().contains(bad), "{refused}");
        }
    }

    #[test]
    fn a_schema_is_taken_as_written_unless_quotes_cannot_hold_it() {
        let prefix = TablePrefix::default();
        let longest = "s".repeat(TablePrefix::MAX_SCHEMA_LEN);
        for good in [
            "billing",
            "Billing-EU",
            "user",
            "1st",
            "0198c0de-7f1a-7000-8000-000000000001",
            &longest,
        ] {
            let named = prefix.clone().in_schema(good).expect(good);
            assert_eq!((named.schema(), named.as_str()), (Some(good), "bento_"));
            let written = named.to_string();
            assert_eq!(written, format!("{good}.bento_"));
            assert_eq!(written.parse(), Ok(named.clone()));
            assert_eq!(TablePrefix::try_from(written), Ok(named));
        }
        let too_long = "s".repeat(TablePrefix::MAX_SCHEMA_LEN + 1);
        for bad in [
            "",
            "a.b",
            "a b",
            "a\"b",
            "a`b",
            "a'b",
            "a\\b",
            "a\0",
            "ä",
            "\"billing\"",
            &too_long,
        ] {
            let refused = prefix.clone().in_schema(bad).expect_err(bad);
            assert_eq!(
                refused,
                InvalidTablePrefix::Schema {
                    schema: bad.to_owned()
                }
            );
            assert!(refused.to_string().contains(bad), "{refused}");
        }
    }

    #[test]
    fn the_written_form_says_which_part_is_wrong() {
        let parse = |written: &str| written.parse::<TablePrefix>();
        assert_eq!(
            parse("sales_").map(|prefix| prefix.schema().map(str::to_owned)),
            Ok(None)
        );
        assert_eq!(
            parse("billing."),
            Err(InvalidTablePrefix::Prefix {
                prefix: String::new()
            })
        );
        assert_eq!(
            parse("billing.Bento_"),
            Err(InvalidTablePrefix::Prefix {
                prefix: "Bento_".to_owned()
            })
        );
        assert_eq!(
            parse(".bento_"),
            Err(InvalidTablePrefix::Schema {
                schema: String::new()
            })
        );
        assert_eq!(
            parse("shop.billing.bento_"),
            Err(InvalidTablePrefix::Schema {
                schema: "shop.billing".to_owned()
            })
        );
    }
}
