//! Events whose id the caller chose, and which may therefore be known already.

use std::collections::HashSet;

use bento_core::outbox::OutboxEntry;
use bento_core::telemetry::TARGET_FLUSH;
use sea_orm::{ConnectionTrait, DatabaseTransaction, Statement, Value};
use uuid::Uuid;

use crate::dialect::Dialect;
use crate::error::Error;
use crate::tables::Tables;

/// Each id is a parameter three times; SQLite has the fewest parameters.
const IDS_PER_STATEMENT: usize = 10_000;

/// Removes the entries whose id is pending, held or dead already: one statement, for supplied ids only.
pub(super) async fn leave_out(
    tx: &DatabaseTransaction,
    dialect: &dyn Dialect,
    tables: &Tables,
    entries: &mut Vec<OutboxEntry>,
) -> Result<(), Error> {
    let supplied: Vec<_> =
        entries.iter().filter(|entry| entry.id_supplied).map(|entry| *entry.envelope.event_id.as_uuid()).collect();
    let mut known = HashSet::new();
    for ids in supplied.chunks(IDS_PER_STATEMENT) {
        known.extend(known_among(tx, dialect, tables, ids).await?);
    }
    entries.retain(|entry| {
        let event = &entry.envelope;
        let is_known = entry.id_supplied && known.contains(event.event_id.as_uuid());
        if is_known {
            tracing::warn!(
                target: TARGET_FLUSH,
                event_id = %event.event_id,
                event_type = %event.event_type,
                aggregate_id = %event.aggregate_id,
                tenant_id = event.tenant_id,
                "the event is known already and was not written again"
            );
        }
        !is_known
    });
    Ok(())
}

async fn known_among(
    tx: &DatabaseTransaction,
    dialect: &dyn Dialect,
    tables: &Tables,
    ids: &[Uuid],
) -> Result<Vec<Uuid>, Error> {
    let backend = dialect.backend();
    let mut values: Vec<Value> = Vec::with_capacity(ids.len() * 3);
    let selects = [tables.outbox(), tables.held(), tables.dead_letter()].map(|table| {
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
    let rows = tx.query_all_raw(statement).await.map_err(|error| Error::from_statement(backend, error))?;
    rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}
