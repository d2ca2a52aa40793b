//! An append in one statement: the head is raised first, and what follows is selected from the row
//! that it returns. So positions are drawn after the head is locked, and no row is written if the
//! head is another one.

use bento_core::event::EventKind;
use bento_core::outbox::OutboxEntry;
use sea_orm::{DbBackend, Statement, Value};

use super::unnest;
use crate::columns::{self, COLUMNS, PARAMETERS, row_values};
use crate::dialect::postgres::schema::sql_type;
use crate::dialect::rows_of_placeholders;
use crate::stream::Head;
use crate::tables::Tables;

/// The number of rows up to which multi-row VALUES is used instead of UNNEST, as for the outbox.
const VALUES_UP_TO: usize = super::VALUES_UP_TO;

pub(super) fn append(tables: &Tables, head: &Head, entries: Vec<OutboxEntry>) -> Statement {
    let (rows, mut values) = if entries.len() <= VALUES_UP_TO {
        let rows = typed_values(entries.len());
        let values: Vec<_> = entries
            .into_iter()
            .flat_map(|entry| row_values(entry, Value::from))
            .collect();
        (rows, values)
    } else {
        (unnest::select(", u.nth"), unnest::values(entries))
    };
    let sql = sql(tables, head.before == 0, &rows, values.len());
    values.extend([
        head.stream.aggregate_type.into(),
        head.stream.aggregate_id.as_str().into(),
        head.after.into(),
    ]);
    if head.before > 0 {
        values.push(head.before.into());
    }
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

/// The statement; the parameters of the head follow `behind` others.
fn sql(tables: &Tables, is_new: bool, rows: &str, behind: usize) -> String {
    let (stream, event, outbox) = (tables.event_stream(), tables.event(), tables.outbox());
    let [aggregate_type, id, after, before] = [1, 2, 3, 4].map(|nth| behind + nth);
    let head = if is_new {
        format!(
            "INSERT INTO {stream} (aggregate_type, aggregate_id, sequence) VALUES \
             (${aggregate_type}, ${id}, ${after}) ON CONFLICT (aggregate_type, aggregate_id) DO \
             NOTHING RETURNING sequence"
        )
    } else {
        format!(
            "UPDATE {stream} SET sequence = ${after} WHERE aggregate_type = ${aggregate_type} AND \
             aggregate_id = ${id} AND sequence = ${before} RETURNING sequence"
        )
    };
    let (columns, stored) = (columns::list(), columns::stored_list());
    let domain = EventKind::Domain;
    format!(
        "WITH head AS ({head}), batch AS MATERIALIZED (SELECT r.* FROM head, ({rows}) AS r \
         (shard, {columns}, nth)), \
         stored AS (INSERT INTO {event} ({stored}) SELECT {stored} FROM batch WHERE \
         coalesce(kind, '{domain}') = '{domain}' ORDER BY nth) INSERT INTO {outbox} (shard, \
         {columns}) SELECT shard, {columns} FROM batch ORDER BY nth"
    )
}

/// A number of rows as multi-row VALUES, whose first row gives the types.
fn typed_values(rows: usize) -> String {
    let columns = columns::list();
    let mut first = String::from("($1::integer");
    for (nth, column) in (2..).zip(&COLUMNS) {
        first.push_str(&format!(", ${nth}::{}", sql_type(column.kind)));
    }
    let all = rows_of_placeholders(&crate::backend::Postgres, rows, PARAMETERS);
    let rest = all.split_once(')').map_or("", |(_, rest)| rest);
    format!("SELECT v.*, row_number() OVER () FROM (VALUES {first}){rest}) AS v (shard, {columns})")
}
