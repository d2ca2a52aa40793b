//! The names of Bento's tables, all behind one prefix.

use std::fmt;

/// What the names of Bento's tables begin with, `bento_` unless you choose otherwise.
///
/// Two prefixes are two independent outboxes in one database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TablePrefix(String);

impl TablePrefix {
    /// The longest prefix in bytes, so that every name made of it fits into the 63 bytes of PostgreSQL.
    pub const MAX_LEN: usize = 36;

    /// A prefix of lower-case ASCII letters, digits and `_` that does not begin with a digit, written into SQL unquoted.
    ///
    /// # Errors
    /// [`InvalidTablePrefix`] for anything else, and for a prefix longer than [`MAX_LEN`](Self::MAX_LEN).
    pub fn new(prefix: impl Into<String>) -> Result<Self, InvalidTablePrefix> {
        let prefix = prefix.into();
        let begins_well = prefix.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
        let is_identifier =
            prefix.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if begins_well && is_identifier && prefix.len() <= Self::MAX_LEN {
            Ok(Self(prefix))
        } else {
            Err(InvalidTablePrefix { prefix })
        }
    }

    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TablePrefix {
    fn default() -> Self {
        Self("bento_".to_owned())
    }
}

impl fmt::Display for TablePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<&str> for TablePrefix {
    type Error = InvalidTablePrefix;

    fn try_from(prefix: &str) -> Result<Self, Self::Error> {
        Self::new(prefix)
    }
}

/// A table prefix that cannot begin a table name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{prefix}` cannot begin a table name; use at most {} lower-case letters, digits and `_`, not beginning with a digit",
    TablePrefix::MAX_LEN
)]
pub struct InvalidTablePrefix {
    /// What was given.
    pub prefix: String,
}

/// The names of Bento's tables.
///
/// | table | holds | written by |
/// |---|---|---|
/// | `outbox` | events not yet published | the business transaction; the relay deletes |
/// | `outbox_held` | events held back for a destination | the relay that owns the shard; operator commands |
/// | `dead_letter` | events that were given up | the relay that owns the shard; operator commands |
/// | `discarded_letter` | what is kept of dead letters that were discarded | operator commands |
/// | `outbox_published` | published events, if they are kept | the relay that owns the shard; one relay at a time prunes |
/// | `paused_tenant` | tenants whose events are held back | operator commands |
/// | `relay_shard` | one lease for each shard | relays |
/// | `relay` | relays that are alive | relays |
/// | `outbox_meta` | how the outbox is divided, and when to prune again | the first flush or relay; relays that prune |
/// | `outbox_status` | a view: one row per event | nobody |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    prefix: TablePrefix,
    outbox: String,
    held: String,
    dead_letter: String,
    discarded_letter: String,
    published: String,
    paused_tenant: String,
    shard: String,
    relay: String,
    meta: String,
    status: String,
}

impl Tables {
    /// The tables behind a prefix.
    pub fn new(prefix: TablePrefix) -> Self {
        let name = |rest: &str| format!("{prefix}{rest}");
        Self {
            outbox: name("outbox"),
            held: name("outbox_held"),
            dead_letter: name("dead_letter"),
            discarded_letter: name("discarded_letter"),
            published: name("outbox_published"),
            paused_tenant: name("paused_tenant"),
            shard: name("relay_shard"),
            relay: name("relay"),
            meta: name("outbox_meta"),
            status: name("outbox_status"),
            prefix,
        }
    }

    /// The prefix of all names.
    pub fn prefix(&self) -> &TablePrefix {
        &self.prefix
    }

    /// Events not yet published.
    pub fn outbox(&self) -> &str {
        &self.outbox
    }

    /// Events held back for a destination.
    pub fn held(&self) -> &str {
        &self.held
    }

    /// Events that were given up.
    pub fn dead_letter(&self) -> &str {
        &self.dead_letter
    }

    /// What is kept of dead letters that were discarded.
    pub fn discarded_letter(&self) -> &str {
        &self.discarded_letter
    }

    /// Published events that are kept for a while.
    pub fn published(&self) -> &str {
        &self.published
    }

    /// The tenants whose events are held back.
    pub fn paused_tenant(&self) -> &str {
        &self.paused_tenant
    }

    /// The leases of the shards.
    pub fn shard(&self) -> &str {
        &self.shard
    }

    /// The relays that are alive.
    pub fn relay(&self) -> &str {
        &self.relay
    }

    /// How the outbox is divided.
    pub fn meta(&self) -> &str {
        &self.meta
    }

    /// The view with one row per event.
    pub fn status(&self) -> &str {
        &self.status
    }

    /// Every table, in the order in which they can be dropped.
    pub(crate) fn all(&self) -> [&str; 9] {
        [
            &self.meta,
            &self.relay,
            &self.shard,
            &self.paused_tenant,
            &self.published,
            &self.discarded_letter,
            &self.dead_letter,
            &self.held,
            &self.outbox,
        ]
    }

    /// Another object of the schema behind the same prefix: an index, a sequence, a function.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "the others have none"))]
    pub(crate) fn named(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }
}

impl Default for Tables {
    fn default() -> Self {
        Self::new(TablePrefix::default())
    }
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
        for bad in ["", "1a", "Bento_", "a-b", "a b", "a;drop table x", "a\"", "ä_", "public.", &too_long] {
            let refused = TablePrefix::new(bad).expect_err(bad);
            assert!(refused.to_string().contains(bad), "{refused}");
        }
    }
}
