//! Events whose id the caller chose, and which may therefore be known already.

use std::collections::HashSet;

use bento_core::EventId;
use bento_core::outbox::OutboxEntry;
use sea_orm::{ConnectionTrait, DatabaseTransaction, Statement, Value};
use uuid::Uuid;

use crate::dialect::Dialect;
use crate::error::Error;
use crate::tables::Tables;

/// Each id is a parameter four times; SQLite has the fewest parameters.
const IDS_PER_STATEMENT: usize = 8_000;

/// Removes the entries whose id is pending, held, dead, or published and kept already, and returns their ids: one statement, for supplied ids only.
pub(super) async fn leave_out(
    tx: &DatabaseTransaction,
    dialect: &dyn Dialect,
    tables: &Tables,
    entries: &mut Vec<OutboxEntry>,
) -> Result<HashSet<EventId>, Error> {
    let supplied: Vec<_> =
        entries.iter().filter(|entry| entry.may_be_known).map(|entry| *entry.envelope.event_id.as_uuid()).collect();
    let mut known = HashSet::new();
    for ids in supplied.chunks(IDS_PER_STATEMENT) {
        known.extend(known_among(tx, dialect, tables, ids).await?);
    }
    entries.retain(|entry| !known.contains(&entry.envelope.event_id));
    Ok(known)
}

/// Writes entries of which another transaction may be writing some at this moment, and returns the ids of those it has written.
/// MySQL does not tell.
pub(super) async fn insert_unless_there(
    tx: &DatabaseTransaction,
    dialect: &dyn Dialect,
    tables: &Tables,
    entries: Vec<OutboxEntry>,
    values: &(dyn Fn(usize) -> String + Sync),
) -> Result<HashSet<EventId>, Error> {
    let mut known: HashSet<_> = entries.iter().map(|entry| entry.envelope.event_id).collect();
    let mut end = dialect.or_leave(tables.outbox(), &["event_id"]);
    let Some(returning) = dialect.returning("event_id") else {
        let statement = dialect.insert(tables, entries, &end, values);
        tx.execute_raw(statement).await.map_err(|error| Error::from_statement(dialect.backend(), error))?;
        return Ok(HashSet::new());
    };
    end.push_str(&returning);
    let statement = dialect.insert(tables, entries, &end, values);
    for event_id in event_ids(tx, dialect, statement).await? {
        known.remove(&event_id);
    }
    Ok(known)
}

async fn known_among(
    tx: &DatabaseTransaction,
    dialect: &dyn Dialect,
    tables: &Tables,
    ids: &[Uuid],
) -> Result<Vec<EventId>, Error> {
    let backend = dialect.backend();
    let mut values: Vec<Value> = Vec::with_capacity(ids.len() * 4);
    let selects = [tables.outbox(), tables.held(), tables.dead_letter(), tables.published()].map(|table| {
        let mut sql = format!("SELECT event_id FROM {table} WHERE event_id IN (");
        for (nth, id) in ids.iter().enumerate() {
            sql.push_str(if nth > 0 { ", " } else { "" });
            values.push((*id).into());
            dialect.placeholder(values.len(), &mut sql);
        }
        sql.push(')');
        sql
    });
    let statement = Statement::from_sql_and_values(backend, selects.join(" UNION ALL "), values);
    event_ids(tx, dialect, statement).await
}

async fn event_ids(
    tx: &DatabaseTransaction,
    dialect: &dyn Dialect,
    statement: Statement,
) -> Result<Vec<EventId>, Error> {
    let rows = tx.query_all_raw(statement).await.map_err(|error| Error::from_statement(dialect.backend(), error))?;
    rows.iter().map(|row| Ok(row.try_get_by_index::<Uuid>(0)?.into())).collect()
}
