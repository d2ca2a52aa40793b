//! A page of the events that one snapshot of the database shows and an earlier one does not.
//!
//! Behind the highest position that was read before stand new events. Up to it stand only those of
//! transactions that were running when the earlier snapshot was taken, found by their numbers.

use sea_orm::Statement;

use crate::backend::Postgres;
use crate::dialect::{Sql, binds};
use crate::stream::{Difference, PageOf};

pub(super) fn page(page: PageOf<'_>) -> Statement {
    let Difference { seen, high, target } = page.difference;
    let sql = Sql::new(
        &Postgres,
        page.tables,
        "WITH snapshots AS (SELECT coalesce(?::text::pg_snapshot, pg_current_snapshot()) AS \
         target, ?::text::pg_snapshot AS seen) SELECT target::text, (greatest(pg_snapshot_xmax(\
         seen), pg_snapshot_xmax(target)) > pg_snapshot_xmax(pg_current_snapshot()) OR EXISTS \
         (SELECT 1 FROM {events} WHERE transaction >= pg_snapshot_xmax(pg_current_snapshot()))), \
         r.* FROM snapshots LEFT JOIN LATERAL (",
        binds![target.map(str::to_owned), seen],
    );
    let sql = part(
        sql,
        page,
        "position > ? AND NOT pg_visible_in_snapshot(transaction, seen)",
        binds![page.after.max(high)].into(),
    );
    let sql = part(
        sql.then(" UNION ALL ", binds![]),
        page,
        "position > ? AND position <= ? AND transaction IN (SELECT pg_snapshot_xip(seen))",
        binds![page.after, high].into(),
    );
    let end = " ORDER BY position LIMIT ?) r ON true ORDER BY r.position";
    sql.then(end, binds![page.limit]).build()
}

/// One part of the difference, limited by itself so that an index has its order.
fn part<'a>(
    sql: Sql<'a>,
    page: PageOf<'a>,
    condition: &str,
    binds: Vec<crate::dialect::Bind>,
) -> Sql<'a> {
    let sql = sql.then(
        &format!("(SELECT position, {{read_stored_event}} FROM {{events}} WHERE {condition}"),
        binds,
    );
    let sql = match page.event_type {
        Some(event_type) => sql.then(" AND event_type = ?", binds![event_type]),
        None => sql,
    };
    sql.then(
        " AND pg_visible_in_snapshot(transaction, target) ORDER BY position LIMIT ?)",
        binds![page.limit],
    )
}
