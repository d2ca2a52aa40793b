//! An append in one statement: the head is raised first, and what follows is selected from the row
//! that it returns. So positions are drawn after the head is locked, and no row is written if the
//! head is another one.

use std::sync::LazyLock;

use bento_core::event::EventKind;
use bento_core::outbox::OutboxEntry;
use sea_orm::{DbBackend, Statement, Value};

use super::unnest;
use crate::columns::{self, COLUMNS, row_values};
use crate::dialect::postgres::schema::sql_type;
use crate::stream::Head;
use crate::tables::Tables;

/// The row of one event, whose parameters cost less than arrays.
static ONE: LazyLock<String> = LazyLock::new(typed_row);

/// The rows of several events.
static SEVERAL: LazyLock<String> = LazyLock::new(|| unnest::select(", u.nth"));

pub(super) fn append(tables: &Tables, head: &Head, entries: Vec<OutboxEntry>) -> Statement {
    let (rows, mut values) = if entries.len() == 1 {
        let row = entries.into_iter();
        let values = row.flat_map(|entry| row_values(entry, Value::from));
        (&*ONE, values.collect::<Vec<_>>())
    } else {
        (&*SEVERAL, unnest::values(entries))
    };
    let sql = sql(tables, head.before == 0, rows, values.len());
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

/// A row of typed parameters.
fn typed_row() -> String {
    let mut row = String::from("SELECT $1::integer");
    for (nth, column) in (2..).zip(&COLUMNS) {
        row.push_str(&format!(", ${nth}::{}", sql_type(column.kind)));
    }
    row + ", 1"
}
