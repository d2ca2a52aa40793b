//! The secondary indexes of Bento's tables, the same on every back end.

use crate::tables::{Tables, bare};

/// A secondary index. Its name is that of its table, `_` and its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Index<'a> {
    pub(super) table: &'a str,
    pub(super) name: &'static str,
    pub(super) columns: &'static str,
    pub(super) unique: bool,
}

impl Index<'_> {
    /// The statement that creates the index, where `IF NOT EXISTS` is understood.
    pub(super) fn create_if_missing(&self) -> String {
        format!(
            "CREATE {} IF NOT EXISTS {} ON {} ({})",
            self.kind(),
            self.full_name(),
            self.table,
            self.columns
        )
    }

    /// The name in the schema of the table.
    pub(super) fn full_name(&self) -> String {
        format!("{}_{}", bare(self.table), self.name)
    }

    /// The words behind CREATE.
    pub(super) fn kind(&self) -> &'static str {
        if self.unique { "UNIQUE INDEX" } else { "INDEX" }
    }
}

/// The indexes of stored events that every back end has, and those by which it orders them: names
/// and columns.
pub(super) fn of_events<'a>(
    tables: &'a Tables,
    ordering: &[(&'static str, &'static str)],
) -> Vec<Index<'a>> {
    let table = tables.event();
    let index = |name, columns, unique| Index {
        table,
        name,
        columns,
        unique,
    };
    let mut all = vec![
        index("event_id", "event_id", true),
        index("schema_version", "event_type, schema_version", false),
    ];
    let ordering = ordering.iter();
    all.extend(ordering.map(|&(name, columns)| index(name, columns, false)));
    all
}

/// Every index that all back ends have.
pub(super) fn all(tables: &Tables) -> Vec<Index<'_>> {
    let index = |table, name, columns| Index {
        table,
        name,
        columns,
        unique: false,
    };
    let (held, dead_letter, published) = (tables.held(), tables.dead_letter(), tables.published());
    let discarded = tables.discarded_letter();
    let mut all = vec![
        Index {
            table: tables.outbox(),
            name: "event_id",
            columns: "event_id",
            unique: true,
        },
        index(
            held,
            "stream",
            "shard, route, aggregate_type, aggregate_id, ordered, position",
        ),
        index(held, "retry_after", "shard, retry_after, position"),
        index(held, "aggregate", "aggregate_type, aggregate_id"),
        index(held, "event_id", "event_id"),
        index(held, "tenant_id", "tenant_id"),
        index(held, "event_type", "event_type"),
        index(
            dead_letter,
            "stream",
            "shard, route, aggregate_type, aggregate_id, position",
        ),
        index(dead_letter, "aggregate", "aggregate_type, aggregate_id"),
        index(dead_letter, "position", "shard, position, route"),
        index(dead_letter, "failed_at", "failed_at, event_id, route"),
        index(dead_letter, "tenant_id", "tenant_id, failed_at"),
        index(dead_letter, "event_type", "event_type, failed_at"),
        index(dead_letter, "route", "route, failed_at"),
        index(dead_letter, "cause", "cause, failed_at"),
        index(discarded, "aggregate", "aggregate_type, aggregate_id"),
        index(discarded, "tenant_id", "tenant_id, discarded_at"),
        index(discarded, "event_type", "event_type, discarded_at"),
        index(published, "at", "published_at"),
    ];
    if !tables.is_inbox() {
        all.push(index(tables.handled_event(), "handled_at", "handled_at"));
    }
    all
}
