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
///
/// Event-sourced aggregates have
///
/// | table | holds | written by |
/// |---|---|---|
/// | `event` | the events of event-sourced aggregates, for ever | the business transaction: INSERT only |
/// | `event_stream` | the number of the last event of each aggregate | the business transaction |
/// | `snapshot` | states of aggregates | whoever loads or saves one |
/// | `event_log` | on MySQL and MariaDB: the order in which events were committed | the business transaction; readers of all events |
/// | `event_sequencer` | on MySQL and MariaDB: the last number of that order | readers of all events |
///
/// Projections have
///
/// | table | holds | written by |
/// |---|---|---|
/// | `projection` | the versions of each projection: built, live or replaced, and why one has stopped | dispatchers; operator commands |
/// | `projection_checkpoint` | the number of the last event of each aggregate that a projection has seen | the transaction that projects |
/// | `projection_effect` | events that a projection has raised while it was built | the same; the swap deletes |
/// | `projection_skip` | events that a projection leaves out, with who said so | operator commands |
///
/// The inbox has the same tables under names that begin with `inbox`
/// ([`of_inbox`](Self::of_inbox)): `inbox`, `inbox_held`, `inbox_dead_letter`, … Both share
/// `handled_event`. Beside them is
///
/// | table | holds | written by |
/// |---|---|---|
/// | `source` | a lease for each source of messages, and the place up to which they are stored | consumers |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    prefix: TablePrefix,
    side: Side,
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
    source: String,
    event: String,
    event_stream: String,
    snapshot: String,
    event_log: String,
    event_sequencer: String,
    projection: String,
    projection_checkpoint: String,
    projection_effect: String,
    projection_skip: String,
}

/// The direction of the events in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Outbox,
    Inbox,
    /// The event store, which has no direction.
    Events,
    /// The projections, which read from all sides.
    Projections,
}

impl Tables {
    /// The tables behind a prefix, as PostgreSQL writes their names. Functions that also take a
    /// connection write them for its database; for statements of your own on MySQL or MariaDB see
    /// [`on`](Self::on).
    pub fn new(prefix: TablePrefix) -> Self {
        Self::quoted(prefix, Side::Outbox, '"')
    }

    /// The tables of the inbox behind a prefix: those of events that were received.
    ///
    /// ```
    /// use bento_seaorm::{TablePrefix, Tables};
    ///
    /// let tables = Tables::of_inbox(TablePrefix::default());
    /// assert_eq!((tables.outbox(), tables.held()), ("bento_inbox", "bento_inbox_held"));
    /// assert_eq!(tables.handled_event(), "bento_handled_event");
    /// ```
    pub fn of_inbox(prefix: TablePrefix) -> Self {
        Self::quoted(prefix, Side::Inbox, '"')
    }

    /// The tables of the inbox behind the same prefix.
    pub(crate) fn inbox(&self) -> Self {
        Self::quoted(self.prefix.clone(), Side::Inbox, self.quote)
    }

    /// The tables of the outbox behind the same prefix.
    pub(crate) fn outbox_side(&self) -> Self {
        Self::quoted(self.prefix.clone(), Side::Outbox, self.quote)
    }

    /// The tables of the event store behind the same prefix.
    pub(crate) fn events(&self) -> Self {
        Self::quoted(self.prefix.clone(), Side::Events, self.quote)
    }

    /// The tables of the projections behind the same prefix.
    pub(crate) fn projections(&self) -> Self {
        Self::quoted(self.prefix.clone(), Side::Projections, self.quote)
    }

    /// The same tables behind another prefix.
    pub(crate) fn with_prefix(&self, prefix: TablePrefix) -> Self {
        Self::quoted(prefix, self.side, self.quote)
    }

    /// True for the tables of the inbox.
    pub(crate) fn is_inbox(&self) -> bool {
        self.side == Side::Inbox
    }

    /// True for the tables of the event store.
    pub(crate) fn is_events(&self) -> bool {
        self.side == Side::Events
    }

    /// True for the tables of the projections.
    pub(crate) fn is_projections(&self) -> bool {
        self.side == Side::Projections
    }

    /// True for the tables of an outbox or an inbox, which have a view of every event.
    pub(crate) fn have_a_direction(&self) -> bool {
        matches!(self.side, Side::Outbox | Side::Inbox)
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
            Some(quote) if quote != self.quote => Self::quoted(self.prefix, self.side, quote),
            _ => self,
        }
    }

    fn quoted(prefix: TablePrefix, side: Side, quote: char) -> Self {
        let name = |rest: &str| qualified(&prefix, quote, rest);
        // The first events had one direction: some of their tables are named without it.
        let plain = |rest: &str| match side {
            Side::Outbox | Side::Events | Side::Projections => name(rest),
            Side::Inbox => name(&format!("inbox_{rest}")),
        };
        let directed = |rest: &str| match side {
            Side::Outbox | Side::Events | Side::Projections => name(&format!("outbox{rest}")),
            Side::Inbox => name(&format!("inbox{rest}")),
        };
        Self {
            quote,
            side,
            outbox: directed(""),
            held: directed("_held"),
            dead_letter: plain("dead_letter"),
            discarded_letter: plain("discarded_letter"),
            published: directed("_published"),
            paused_tenant: plain("paused_tenant"),
            handled_event: name("handled_event"),
            handler: plain("handler"),
            shard: plain("relay_shard"),
            relay: plain("relay"),
            meta: directed("_meta"),
            status: directed("_status"),
            source: name("source"),
            event: name("event"),
            event_stream: name("event_stream"),
            snapshot: name("snapshot"),
            event_log: name("event_log"),
            event_sequencer: name("event_sequencer"),
            projection: name("projection"),
            projection_checkpoint: name("projection_checkpoint"),
            projection_effect: name("projection_effect"),
            projection_skip: name("projection_skip"),
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

    /// The sources of messages.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The events of event-sourced aggregates.
    pub fn event(&self) -> &str {
        &self.event
    }

    /// The number of the last event of each event-sourced aggregate.
    pub fn event_stream(&self) -> &str {
        &self.event_stream
    }

    /// The snapshots of event-sourced aggregates.
    pub fn snapshot(&self) -> &str {
        &self.snapshot
    }

    /// The order in which events were committed, on MySQL and MariaDB.
    pub fn event_log(&self) -> &str {
        &self.event_log
    }

    /// The last number of the order in which events were committed, on MySQL and MariaDB.
    pub fn event_sequencer(&self) -> &str {
        &self.event_sequencer
    }

    /// The versions of each projection.
    pub fn projection(&self) -> &str {
        &self.projection
    }

    /// The last event of each aggregate that a projection has seen.
    pub fn projection_checkpoint(&self) -> &str {
        &self.projection_checkpoint
    }

    /// The events that a projection has raised while it was built.
    pub fn projection_effect(&self) -> &str {
        &self.projection_effect
    }

    /// The events that a projection leaves out.
    pub fn projection_skip(&self) -> &str {
        &self.projection_skip
    }

    /// The view with one row per event.
    pub fn status(&self) -> &str {
        &self.status
    }

    /// Every table of its side, in the order in which they can be dropped. The record of handled
    /// events is of the side of the outbox, and the sources are of that of the inbox. The tables
    /// that only one back end has are not among them.
    pub(crate) fn all(&self) -> Vec<&str> {
        let of_one_side = match self.side {
            Side::Outbox => &self.handled_event,
            Side::Inbox => &self.source,
            Side::Events => return vec![&self.snapshot, &self.event_stream, &self.event],
            Side::Projections => {
                return vec![
                    &self.projection_skip,
                    &self.projection_effect,
                    &self.projection_checkpoint,
                    &self.projection,
                ];
            }
        };
        vec![
            &self.meta,
            &self.relay,
            &self.shard,
            &self.paused_tenant,
            of_one_side,
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

    /// The name of the sequence of positions, where there is one.
    #[cfg(any(feature = "postgres", test))]
    pub(crate) fn positions(&self) -> String {
        self.named(match self.side {
            Side::Outbox | Side::Projections => "outbox_position",
            Side::Inbox => "inbox_position",
            Side::Events => "event_position",
        })
    }

    /// The name of the function that shows bytes as JSON, where there is one.
    #[cfg(any(feature = "postgres", test))]
    pub(crate) fn as_json(&self) -> String {
        self.named(match self.side {
            Side::Outbox | Side::Events | Side::Projections => "as_json",
            Side::Inbox => "inbox_as_json",
        })
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
        let inbox = Tables::of_inbox(prefix);
        for side in [&tables, &inbox] {
            for name in
                side.all()
                    .into_iter()
                    .chain([side.status(), &side.as_json(), &side.positions()])
            {
                assert!(name.starts_with("\"Billing-EU\".bento_"), "{name}");
                assert!(bare(name).starts_with("bento_"), "{name}");
            }
        }
        let shared = tables.all().iter().any(|name| inbox.all().contains(name));
        assert!(!shared, "each table is of one side");
        assert_eq!(tables.inbox(), inbox);
        assert_eq!(inbox.outbox_side(), tables);
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
