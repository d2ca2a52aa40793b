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

use super::own_key::{id_of_row, of_row, row_of};
use crate::dialect::{Dialect, Sql};
use crate::entity::{lossy_at, names_at, salvaged_at};
use crate::tables::Tables;

/// The time of a dead letter whose own time cannot be read.
pub(super) const UNREADABLE_TIME: DateTime<Utc> = DateTime::UNIX_EPOCH;

/// A page of dead letters, oldest failure first.
pub(super) fn list(dialect: &'static dyn Dialect, tables: &Tables, query: &DeadLetterQuery) -> Sql {
    page(
        letters(dialect, tables),
        dialect,
        query,
        (tables.dead_letter(), "failed_at"),
    )
}

/// A page of discarded dead letters, the earliest first.
pub(super) fn discarded(
    dialect: &'static dyn Dialect,
    tables: &Tables,
    query: &DeadLetterQuery,
) -> Sql {
    let select = Sql::new(
        dialect,
        &format!(
            "SELECT event_id, route, event_type, aggregate_type, aggregate_id, tenant_id, cause, \
             error_message, {}, reason, actor, {} FROM {} WHERE 1 = 1",
            dialect.read_time("failed_at"),
            dialect.read_time("discarded_at"),
            tables.discarded_letter()
        ),
    );
    page(
        select,
        dialect,
        query,
        (tables.discarded_letter(), "discarded_at"),
    )
}

/// The dead letter of one event for one route.
pub(super) fn one(
    dialect: &'static dyn Dialect,
    tables: &Tables,
    event_id: EventId,
    route: &str,
) -> Sql {
    keyed(
        letters(dialect, tables).push(" AND "),
        dialect,
        event_id,
        route,
    )
}

/// Appends the condition that a dead letter has this key.
fn keyed(sql: Sql, dialect: &dyn Dialect, event_id: EventId, route: &str) -> Sql {
    match row_of(dialect, event_id) {
        Some(row) => of_row(sql, dialect, row),
        None => sql
            .push("event_id = ")
            .bind(Uuid::from(event_id))
            .push(" AND route = ")
            .bind(route),
    }
}

/// Dead letters in the order of replay.
pub(super) fn in_order(
    dialect: &'static dyn Dialect,
    tables: &Tables,
    filter: &DeadLetterFilter,
    after: Option<&ShardCursor>,
    limit: u64,
) -> Sql {
    let mut sql = filtered(letters(dialect, tables), dialect, filter);
    if let Some(ShardCursor {
        shard,
        position,
        route,
    }) = after
    {
        // The first part says nothing more, but tells the planner where in the index to begin.
        sql = sql
            .push(" AND shard >= ")
            .bind(*shard)
            .push(" AND (shard > ")
            .bind(*shard)
            .push(" OR position > ");
        sql = sql
            .bind(*position)
            .push(" OR (position = ")
            .bind(*position)
            .push(" AND route > ");
        sql = sql.bind(&**route).push("))");
    }
    sql.push(" ORDER BY shard, position, route LIMIT ")
        .bind(signed(limit))
}

/// The first dead letters without an alert, unless another process has locked them.
pub(super) fn unalerted(dialect: &'static dyn Dialect, tables: &Tables, limit: u32) -> Sql {
    due_for_alert(letters(dialect, tables), dialect)
        .push(" ORDER BY failed_at, event_id LIMIT ")
        .bind(i64::from(limit))
        .push(dialect.lock_unlocked())
}

/// The query that answers with a row if there is such a dead letter.
pub(super) fn any_unalerted(dialect: &'static dyn Dialect, tables: &Tables) -> Sql {
    let select = Sql::new(
        dialect,
        &format!("SELECT 1 FROM {} WHERE 1 = 1", tables.dead_letter()),
    );
    due_for_alert(select, dialect).push(" LIMIT 1")
}

fn due_for_alert(sql: Sql, dialect: &dyn Dialect) -> Sql {
    sql.push(&format!(
        " AND alerted_at IS NULL AND (alert_after IS NULL OR alert_after <= {})",
        dialect.now()
    ))
}

fn letters(dialect: &'static dyn Dialect, tables: &Tables) -> Sql {
    let select = format!(
        "SELECT route, shard, position, attempts, cause, error_message, {}, parks, delivered, {}, \
         raw, {}, {} FROM {} WHERE 1 = 1",
        dialect.read_time("failed_at"),
        dialect.read_time("first_failed_at"),
        dialect.row_number().unwrap_or("NULL"),
        dialect.read_columns(),
        tables.dead_letter()
    );
    Sql::new(dialect, &select)
}

/// A page of a table in the order of a time, the ids and the routes.
fn page(
    select: Sql,
    dialect: &'static dyn Dialect,
    query: &DeadLetterQuery,
    of: (&str, &str),
) -> Sql {
    let (table, time) = of;
    let mut sql = filtered(select, dialect, &query.filter);
    if let Some(cursor) = &query.after {
        let place = Place {
            dialect,
            table,
            cursor,
        };
        // The first part says nothing more, but tells the planner where in the index to begin.
        sql = place.time(sql.push(&format!(" AND {time} >= ")), time);
        sql = place.time(sql.push(&format!(" AND ({time} > ")), time);
        sql = place.event_id(sql.push(" OR event_id > "));
        sql = place.event_id(sql.push(" OR (event_id = "));
        sql = place.route(sql.push(" AND route > ")).push("))");
    }
    sql.push(&format!(" ORDER BY {time}, event_id, route LIMIT "))
        .bind(signed(query.rows()))
}

/// The place where a list goes on. If a value of the last dead letter cannot be read, it is
/// compared as it is stored.
struct Place<'a> {
    dialect: &'static dyn Dialect,
    table: &'a str,
    cursor: &'a DeadLetterCursor,
}

impl Place<'_> {
    fn time(&self, sql: Sql, column: &str) -> Sql {
        let DeadLetterCursor { at, event_id, .. } = self.cursor;
        let is_stored = *at == UNREADABLE_TIME || row_of(self.dialect, *event_id).is_some();
        self.or_stored(sql, column, is_stored, self.dialect.time(*at))
    }

    fn event_id(&self, sql: Sql) -> Sql {
        let event_id = self.cursor.event_id;
        let is_stored = row_of(self.dialect, event_id).is_some();
        self.or_stored(sql, "event_id", is_stored, Uuid::from(event_id).into())
    }

    fn route(&self, sql: Sql) -> Sql {
        let is_stored = row_of(self.dialect, self.cursor.event_id).is_some();
        self.or_stored(sql, "route", is_stored, (&*self.cursor.route).into())
    }

    fn or_stored(&self, sql: Sql, column: &str, is_stored: bool, value: Value) -> Sql {
        if !is_stored {
            return sql.bind(value);
        }
        let stored = sql.push(&format!(
            "COALESCE((SELECT max({column}) FROM {} WHERE ",
            self.table
        ));
        let stored = keyed(
            stored,
            self.dialect,
            self.cursor.event_id,
            &self.cursor.route,
        );
        stored.push("), ").bind(value).push(")")
    }
}

/// Appends a filter. The columns have the same names in both tables.
fn filtered(mut sql: Sql, dialect: &'static dyn Dialect, filter: &DeadLetterFilter) -> Sql {
    let aggregate = filter.aggregate.as_ref();
    let texts = [
        ("event_type", filter.event_type.as_ref()),
        ("tenant_id", filter.tenant_id.as_ref()),
        ("route", filter.route.as_ref()),
        ("cause", filter.cause.as_ref()),
        ("aggregate_type", aggregate.map(|(kind, _)| kind)),
        ("aggregate_id", aggregate.map(|(_, id)| id)),
    ];
    for (column, asked) in texts {
        if let Some(asked) = asked {
            sql = sql.push(&format!(" AND {column} = ")).bind(asked.as_str());
        }
    }
    for (test, asked) in [
        ("failed_at >= ", filter.failed_since),
        ("failed_at < ", filter.failed_until),
    ] {
        if let Some(asked) = asked {
            sql = sql.push(" AND ").push(test).bind(dialect.time(asked));
        }
    }
    sql
}

fn signed(limit: u64) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Reads a row of [`letters`], also one with cells that cannot be read.
pub(super) fn letter(row: &QueryResult) -> DeadLetter {
    let failed_at = row.try_get_by_index(6).unwrap_or(UNREADABLE_TIME);
    let mut envelope = salvaged_at(row, 12).0;
    let has_key =
        row.try_get_by_index::<Uuid>(12).is_ok() && row.try_get_by_index::<String>(0).is_ok();
    if let (false, Ok(Some(number))) = (has_key, row.try_get_by_index(11)) {
        envelope.event_id = id_of_row(number);
    }
    let mut letter = DeadLetter::new(
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
    letter.delivered = names_at(row, 8).unwrap_or_default();
    letter.first_failed_at = row.try_get_by_index(9).unwrap_or(failed_at);
    letter.raw = Some(lossy_at(row, 10)).filter(|raw| !raw.is_empty());
    letter
}

/// Reads a row of [`discarded`], also one with cells that cannot be read.
pub(super) fn discarded_letter(row: &QueryResult) -> DiscardedDeadLetter {
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
        INSERT INTO bento_dead_letter (shard, position, route, event_id, event_type, schema_version, aggregate_type,
            aggregate_id, tenant_id, occurred_at, payload, attempts, error_message, cause, parks, first_failed_at, failed_at)
        SELECT n % 64, n, 'default', gen_random_uuid(), 'thing.happened', 1, 'thing', n::text, (n % 100)::text, now(), '', 5, '', 'permanent',
            true, now(), now() + n * interval '1 s' FROM generate_series(1, 20000) n";

    async fn plan(db: &DatabaseConnection, select: Sql) -> String {
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
