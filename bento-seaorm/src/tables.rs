//! The names of Bento's tables, all behind one prefix and in one schema.

mod prefix;

use sea_orm::DbBackend;

pub use self::prefix::{InvalidTablePrefix, TablePrefix};
use crate::backend;

/// The names of Bento's tables.
///
/// | table | holds | written by |
/// |---|---|---|
/// | `outbox` | events not yet published | the business transaction; the relay deletes |
/// | `outbox_held` | events held back for a route | the relay that owns the shard; operator commands |
/// | `dead_letter` | events that were given up | the relay that owns the shard; operator commands |
/// | `discarded_letter` | what is kept of dead letters that were discarded | operator commands |
/// | `outbox_published` | published events, if they are kept | the relay that owns the shard; one relay at a time prunes |
/// | `paused_tenant` | tenants whose events are held back | operator commands |
/// | `handled_event` | events that a handler has handled, so that none is handled twice | dispatchers; one relay at a time prunes |
/// | `handler` | the handlers of every process, and where each began | relays that start |
/// | `relay_shard` | one lease for each shard | relays |
/// | `relay` | relays that are alive | relays |
/// | `outbox_meta` | how the outbox is divided, and when to prune again | the first flush or relay; relays that prune |
/// | `outbox_status` | a view: one row per event | – |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    prefix: TablePrefix,
    /// The quotation mark around the name of the schema.
    quote: char,
    outbox: String,
    held: String,
    dead_letter: String,
    discarded_letter: String,
    published: String,
    paused_tenant: String,
    handled_event: String,
    handler: String,
    shard: String,
    relay: String,
    meta: String,
    status: String,
}

impl Tables {
    /// The tables behind a prefix, as PostgreSQL writes their names. Functions that also take a
    /// connection write them for its database; for statements of your own on MySQL or MariaDB see
    /// [`on`](Self::on).
    pub fn new(prefix: TablePrefix) -> Self {
        Self::quoted(prefix, '"')
    }

    /// The same tables, as this back end writes their names: only the quotes around the name of a
    /// schema differ.
    ///
    /// ```
    /// use bento_seaorm::{TablePrefix, Tables};
    /// use sea_orm::DbBackend;
    ///
    /// let tables = Tables::new(TablePrefix::default().in_schema("billing")?);
    /// assert_eq!(tables.outbox(), r#""billing".bento_outbox"#);
    /// # #[cfg(feature = "mysql")]
    /// assert_eq!(tables.on(DbBackend::MySql).outbox(), "`billing`.bento_outbox");
    /// # Ok::<_, bento_seaorm::tables::InvalidTablePrefix>(())
    /// ```
    #[must_use]
    pub fn on(self, backend: DbBackend) -> Self {
        match backend::schema_quote(backend) {
            Some(quote) if quote != self.quote => Self::quoted(self.prefix, quote),
            _ => self,
        }
    }

    fn quoted(prefix: TablePrefix, quote: char) -> Self {
        let name = |rest: &str| qualified(&prefix, quote, rest);
        Self {
            quote,
            outbox: name("outbox"),
            held: name("outbox_held"),
            dead_letter: name("dead_letter"),
            discarded_letter: name("discarded_letter"),
            published: name("outbox_published"),
            paused_tenant: name("paused_tenant"),
            handled_event: name("handled_event"),
            handler: name("handler"),
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

    /// The events that are not published yet.
    pub fn outbox(&self) -> &str {
        &self.outbox
    }

    /// The events that are held for a route.
    pub fn held(&self) -> &str {
        &self.held
    }

    /// The dead letters.
    pub fn dead_letter(&self) -> &str {
        &self.dead_letter
    }

    /// The records of discarded dead letters.
    pub fn discarded_letter(&self) -> &str {
        &self.discarded_letter
    }

    /// The published events that are kept for a while.
    pub fn published(&self) -> &str {
        &self.published
    }

    /// The tenants whose events are held back.
    pub fn paused_tenant(&self) -> &str {
        &self.paused_tenant
    }

    /// The events that a handler has handled.
    pub fn handled_event(&self) -> &str {
        &self.handled_event
    }

    /// The handlers of every process.
    pub fn handler(&self) -> &str {
        &self.handler
    }

    /// The leases of the shards.
    pub fn shard(&self) -> &str {
        &self.shard
    }

    /// The relays that are alive.
    pub fn relay(&self) -> &str {
        &self.relay
    }

    /// The record of the outbox: its sharding and its application.
    pub fn meta(&self) -> &str {
        &self.meta
    }

    /// The view with one row per event.
    pub fn status(&self) -> &str {
        &self.status
    }

    /// Every table, in the order in which they can be dropped.
    pub(crate) fn all(&self) -> [&str; 11] {
        [
            &self.meta,
            &self.relay,
            &self.shard,
            &self.paused_tenant,
            &self.handled_event,
            &self.handler,
            &self.published,
            &self.discarded_letter,
            &self.dead_letter,
            &self.held,
            &self.outbox,
        ]
    }

    /// The name of the schema as it is written in SQL, if one is named.
    pub(crate) fn schema_in_sql(&self) -> Option<String> {
        let quote = self.quote;
        self.prefix
            .schema()
            .map(|schema| format!("{quote}{schema}{quote}"))
    }

    /// Another object behind the same prefix: a table of records, a sequence, a function.
    pub(crate) fn named(&self, rest: &str) -> String {
        qualified(&self.prefix, self.quote, rest)
    }
}

/// A name as it is written in SQL. A prefix needs no quotes, and the name of a schema cannot end
/// them.
fn qualified(prefix: &TablePrefix, quote: char, rest: &str) -> String {
    let bare = prefix.as_str();
    match prefix.schema() {
        Some(schema) => format!("{quote}{schema}{quote}.{bare}{rest}"),
        None => format!("{bare}{rest}"),
    }
}

/// The name without the schema, for the names of indexes and constraints.
pub(crate) fn bare(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, bare)| bare)
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
    fn every_name_is_in_the_schema_in_the_quotes_of_the_back_end() {
        let prefix: TablePrefix = "Billing-EU.bento_".parse().unwrap();
        let tables = Tables::new(prefix.clone());
        for name in tables
            .all()
            .into_iter()
            .chain([tables.status(), &tables.named("as_json")])
        {
            assert!(name.starts_with("\"Billing-EU\".bento_"), "{name}");
            assert!(bare(name).starts_with("bento_"), "{name}");
        }
        assert_eq!(tables.clone().on(DbBackend::Postgres), tables);
        #[cfg(feature = "mysql")]
        assert_eq!(
            tables.on(DbBackend::MySql).shard(),
            "`Billing-EU`.bento_relay_shard"
        );
        assert_eq!(
            Tables::default().on(DbBackend::MySql).outbox(),
            "bento_outbox"
        );
        assert_eq!(bare("bento_outbox"), "bento_outbox");
    }
}
