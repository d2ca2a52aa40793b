//! The queries for dead letters, and for those that were discarded.

use std::sync::Arc;

use bento_core::id::EventId;
use bento_relay::dead_letter::{
    DeadLetter, DeadLetterCursor, DeadLetterFilter, DeadLetterQuery, DiscardedDeadLetter,
    ShardCursor,
};
use chrono::{DateTime, Utc};
use sea_orm::{QueryResult, Value};
use uuid::Uuid;

use super::own_key::{id_of_row, is_row, row_number_of};
use crate::dialect::{Dialect, Sql, binds};
use crate::entity::{lossy_at, names_at, salvaged_at};
use crate::tables::Tables;

/// The time of a dead letter whose own time cannot be read.
pub(super) const UNREADABLE_TIME: DateTime<Utc> = DateTime::UNIX_EPOCH;

/// The columns that [`dead_letter_at`] reads, the number of the row among them, for a key that
/// cannot be read.
const DEAD_LETTERS: &str = "SELECT route, shard, position, attempts, cause, error_message, \
    {read_time failed_at}, parks, delivered, {read_time first_failed_at}, raw, {row_number}, \
    {read_event} FROM {dead_letter} WHERE 1 = 1";

/// A page of dead letters, oldest failure first.
pub(super) fn list<'a>(
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    query: &DeadLetterQuery,
) -> Sql<'a> {
    let select = Sql::new(dialect, tables, DEAD_LETTERS, []);
    page(select, dialect, query, ("{dead_letter}", "failed_at"))
}

/// A page of discarded dead letters, the earliest first.
pub(super) fn discarded<'a>(
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    query: &DeadLetterQuery,
) -> Sql<'a> {
    let select = Sql::new(
        dialect,
        tables,
        "SELECT event_id, route, event_type, aggregate_type, aggregate_id, tenant_id, cause, \
         error_message, {read_time failed_at}, reason, actor, {read_time discarded_at} \
         FROM {discarded_letter} WHERE 1 = 1",
        [],
    );
    page(
        select,
        dialect,
        query,
        ("{discarded_letter}", "discarded_at"),
    )
}

/// The dead letter of one event for one route.
pub(super) fn one<'a>(
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    event_id: EventId,
    route: &str,
) -> Sql<'a> {
    let select = Sql::new(dialect, tables, DEAD_LETTERS, []).then(" AND ", []);
    keyed(select, dialect, event_id, route)
}

/// Appends the condition that a dead letter has this key.
fn keyed<'a>(sql: Sql<'a>, dialect: &dyn Dialect, event_id: EventId, route: &str) -> Sql<'a> {
    match row_number_of(dialect, event_id) {
        Some(row) => is_row(sql, dialect, row),
        None => sql.then(
            "event_id = ? AND route = ?",
            binds![Uuid::from(event_id), route],
        ),
    }
}

/// Dead letters in the order of replay.
pub(super) fn in_order<'a>(
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    filter: &DeadLetterFilter,
    after: Option<&ShardCursor>,
    limit: u64,
) -> Sql<'a> {
    let mut sql = filtered(Sql::new(dialect, tables, DEAD_LETTERS, []), dialect, filter);
    if let Some(ShardCursor {
        shard,
        position,
        route,
    }) = after
    {
        // The first part says nothing more, but tells the planner where in the index to begin.
        sql = sql.then(
            " AND shard >= ? \
             AND (shard > ? OR position > ? OR (position = ? AND route > ?))",
            binds![*shard, *shard, *position, *position, &**route],
        );
    }
    sql.then(
        " ORDER BY shard, position, route LIMIT ?",
        binds![signed(limit)],
    )
}

/// The first dead letters without an alert, unless another process has locked them.
pub(super) fn unalerted<'a>(
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    limit: u32,
) -> Sql<'a> {
    Sql::new(dialect, tables, DEAD_LETTERS, [])
        .then(IS_DUE_FOR_ALERT, [])
        .then(
            " ORDER BY failed_at, event_id LIMIT ?{lock_unlocked}",
            binds![i64::from(limit)],
        )
}

/// The query that answers with a row if there is such a dead letter.
pub(super) fn any_unalerted<'a>(dialect: &'static dyn Dialect, tables: &'a Tables) -> Sql<'a> {
    Sql::new(
        dialect,
        tables,
        "SELECT 1 FROM {dead_letter} WHERE 1 = 1",
        [],
    )
    .then(IS_DUE_FOR_ALERT, [])
    .then(" LIMIT 1", [])
}

const IS_DUE_FOR_ALERT: &str =
    " AND alerted_at IS NULL AND (alert_after IS NULL OR alert_after <= {now})";

/// A page of a table in the order of a time, the ids and the routes.
fn page<'a>(
    select: Sql<'a>,
    dialect: &'static dyn Dialect,
    query: &DeadLetterQuery,
    (table, time): (&str, &str),
) -> Sql<'a> {
    let mut sql = filtered(select, dialect, &query.filter);
    if let Some(cursor) = &query.after {
        let place = Place {
            dialect,
            table,
            cursor,
        };
        // The first part says nothing more, but tells the planner where in the index to begin.
        sql = place.time(sql.then(&format!(" AND {time} >= "), []), time);
        sql = place.time(sql.then(&format!(" AND ({time} > "), []), time);
        sql = place.event_id(sql.then(" OR event_id > ", []));
        sql = place.event_id(sql.then(" OR (event_id = ", []));
        sql = place.route(sql.then(" AND route > ", [])).then("))", []);
    }
    let end = format!(" ORDER BY {time}, event_id, route LIMIT ?");
    sql.then(&end, binds![signed(query.rows())])
}

/// The place where a list goes on. If a value of the last dead letter cannot be read, it is
/// compared as it is stored.
struct Place<'p> {
    dialect: &'static dyn Dialect,
    table: &'p str,
    cursor: &'p DeadLetterCursor,
}

impl Place<'_> {
    fn time<'a>(&self, sql: Sql<'a>, column: &str) -> Sql<'a> {
        let DeadLetterCursor { at, event_id, .. } = self.cursor;
        let is_stored = *at == UNREADABLE_TIME || row_number_of(self.dialect, *event_id).is_some();
        self.or_stored(sql, column, is_stored, self.dialect.time(*at))
    }

    fn event_id<'a>(&self, sql: Sql<'a>) -> Sql<'a> {
        let event_id = self.cursor.event_id;
        let is_stored = row_number_of(self.dialect, event_id).is_some();
        self.or_stored(sql, "event_id", is_stored, Uuid::from(event_id).into())
    }

    fn route<'a>(&self, sql: Sql<'a>) -> Sql<'a> {
        let is_stored = row_number_of(self.dialect, self.cursor.event_id).is_some();
        self.or_stored(sql, "route", is_stored, (&*self.cursor.route).into())
    }

    fn or_stored<'a>(&self, sql: Sql<'a>, column: &str, is_stored: bool, value: Value) -> Sql<'a> {
        if !is_stored {
            return sql.then("?", binds![value]);
        }
        let stored = format!("COALESCE((SELECT max({column}) FROM {} WHERE ", self.table);
        let DeadLetterCursor {
            event_id, route, ..
        } = self.cursor;
        keyed(sql.then(&stored, []), self.dialect, *event_id, route).then("), ?)", binds![value])
    }
}

/// Appends a filter. The columns have the same names in both tables.
fn filtered<'a>(
    mut sql: Sql<'a>,
    dialect: &'static dyn Dialect,
    filter: &DeadLetterFilter,
) -> Sql<'a> {
    let aggregate = filter.aggregate.as_ref();
    let texts = [
        (" AND event_type = ?", filter.event_type.as_ref()),
        (" AND tenant_id = ?", filter.tenant_id.as_ref()),
        (" AND route = ?", filter.route.as_ref()),
        (" AND cause = ?", filter.cause.as_ref()),
        (" AND aggregate_type = ?", aggregate.map(|(kind, _)| kind)),
        (" AND aggregate_id = ?", aggregate.map(|(_, id)| id)),
    ];
    for (condition, asked) in texts {
        if let Some(asked) = asked {
            sql = sql.then(condition, binds![asked.as_str()]);
        }
    }
    for (condition, asked) in [
        (" AND failed_at >= ?", filter.failed_since),
        (" AND failed_at < ?", filter.failed_until),
    ] {
        if let Some(asked) = asked {
            sql = sql.then(condition, binds![dialect.time(asked)]);
        }
    }
    sql
}

fn signed(limit: u64) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Reads a row of [`DEAD_LETTERS`], also one with cells that cannot be read.
pub(super) fn dead_letter_at(row: &QueryResult) -> DeadLetter {
    let failed_at = row.try_get_by_index(6).unwrap_or(UNREADABLE_TIME);
    let mut envelope = salvaged_at(row, 12).0;
    let has_key =
        row.try_get_by_index::<Uuid>(12).is_ok() && row.try_get_by_index::<String>(0).is_ok();
    if let (false, Ok(Some(number))) = (has_key, row.try_get_by_index(11)) {
        envelope.event_id = id_of_row(number);
    }
    let mut dead_letter = DeadLetter::new(
        lossy_at(row, 0).into(),
        row.try_get_by_index(1).unwrap_or_default(),
        row.try_get_by_index(2).unwrap_or_default(),
        row.try_get_by_index::<i32>(3)
            .unwrap_or_default()
            .max(0)
            .cast_unsigned(),
        lossy_at(row, 4),
        lossy_at(row, 5),
        failed_at,
        row.try_get_by_index(7).unwrap_or(true),
        Arc::new(envelope),
    );
    dead_letter.delivered = names_at(row, 8).unwrap_or_default();
    dead_letter.first_failed_at = row.try_get_by_index(9).unwrap_or(failed_at);
    dead_letter.raw = Some(lossy_at(row, 10)).filter(|raw| !raw.is_empty());
    dead_letter
}

/// Reads a row of [`discarded`], also one with cells that cannot be read.
pub(super) fn discarded_at(row: &QueryResult) -> DiscardedDeadLetter {
    let optional = |column| Some(lossy_at(row, column)).filter(|text| !text.is_empty());
    DiscardedDeadLetter {
        event_id: row.try_get_by_index::<Uuid>(0).unwrap_or_default().into(),
        route: lossy_at(row, 1).into(),
        event_type: lossy_at(row, 2),
        aggregate_type: lossy_at(row, 3),
        aggregate_id: lossy_at(row, 4),
        tenant_id: optional(5),
        cause: lossy_at(row, 6),
        error: lossy_at(row, 7),
        failed_at: row.try_get_by_index(8).unwrap_or(UNREADABLE_TIME),
        reason: lossy_at(row, 9),
        actor: optional(10),
        discarded_at: row.try_get_by_index(11).unwrap_or(UNREADABLE_TIME),
    }
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

    use super::*;
    use crate::dialect;
    use crate::test_database::on_postgres;

    const MANY: &str = "
        INSERT INTO bento_dead_letter (shard, position, route, event_id, event_type,
            schema_version, aggregate_type, aggregate_id, tenant_id, occurred_at, payload,
            attempts, error_message, cause, parks, first_failed_at, failed_at)
        SELECT n % 64, n, 'default', gen_random_uuid(), 'thing.happened',
            1, 'thing', n::text, (n % 100)::text, now(), '',
            5, '', 'permanent', true, now(), now() + n * interval '1 s'
        FROM generate_series(1, 20000) n";

    async fn plan(db: &DatabaseConnection, select: Sql<'_>) -> String {
        let select = select.build();
        let explain = format!("EXPLAIN {}", select.sql);
        let explain =
            Statement::from_sql_and_values(DbBackend::Postgres, explain, select.values.unwrap());
        let rows = db.query_all_raw(explain).await.unwrap();
        rows.iter()
            .map(|row| row.try_get_by_index::<String>(0).unwrap())
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[tokio::test]
    async fn dead_letters_are_found_by_an_index() {
        on_postgres(async |db| {
            db.execute_unprepared(MANY).await.unwrap();
            db.execute_unprepared("ANALYZE bento_dead_letter")
                .await
                .unwrap();
            let (dialect, tables) = (dialect::of(DbBackend::Postgres).unwrap(), Tables::default());
            let any = DeadLetterFilter::default;
            let filters = [
                (any().aggregate("thing", "17"), "aggregate"),
                (any().tenant("7"), "tenant_id"),
                (any().event_type("rare.happened"), "event_type"),
                (any().route("rare"), "route"),
                (any().cause("rare"), "cause"),
                (any(), "failed_at"),
            ];
            for (filter, index) in filters {
                let plan = plan(&db, list(dialect, &tables, &DeadLetterQuery::of(filter))).await;
                assert!(
                    plan.contains(&format!("bento_dead_letter_{index}"))
                        && !plan.contains("Seq Scan"),
                    "{plan}"
                );
            }
            let cursor = ShardCursor {
                shard: 3,
                position: 1000,
                route: "default".into(),
            };
            let plan = plan(&db, in_order(dialect, &tables, &any(), Some(&cursor), 100)).await;
            assert!(
                plan.contains("bento_dead_letter_position") && !plan.contains("Seq Scan"),
                "{plan}"
            );
        })
        .await;
    }
}
