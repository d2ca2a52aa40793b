//! The events that the inbox has already.

use std::collections::HashMap;

use bento_core::EventId;
use bento_core::envelope::Envelope;
use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use uuid::Uuid;

use crate::dialect::{Dialect, Sql, any_of_ids};
use crate::session::StoreTransaction;
use crate::tables::Tables;

/// Each id is a parameter three times; SQLite has the fewest parameters.
const IDS_PER_STATEMENT: usize = 8_000;

/// The facts that are the same each time an event comes. The payload and the tenant may differ: a
/// source that is trusted later shows the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    event_type: String,
    aggregate_type: String,
    aggregate_id: String,
}

impl Identity {
    pub(super) fn of(event: &Envelope) -> Self {
        Self {
            event_type: event.event_type.clone().into_owned(),
            aggregate_type: event.aggregate_type.clone().into_owned(),
            aggregate_id: event.aggregate_id.clone(),
        }
    }

    pub(super) fn is_of(&self, event: &Envelope) -> bool {
        self.event_type == event.event_type
            && self.aggregate_type == event.aggregate_type
            && self.aggregate_id == event.aggregate_id
    }

    fn at(row: &QueryResult) -> Result<Self, DbErr> {
        Ok(Self {
            event_type: row.try_get_by_index(1)?,
            aggregate_type: row.try_get_by_index(2)?,
            aggregate_id: row.try_get_by_index(3)?,
        })
    }
}

/// Returns those of these events that are in the inbox, held or dead, with what is stored of them.
pub(super) async fn among(
    tx: &StoreTransaction,
    dialect: &'static dyn Dialect,
    tables: &Tables,
    ids: &[EventId],
) -> Result<HashMap<EventId, Identity>, DbErr> {
    let mut known = HashMap::new();
    for ids in ids.chunks(IDS_PER_STATEMENT) {
        let selects = ["{outbox}", "{held}", "{dead_letter}"].map(|table| {
            format!(
                "SELECT event_id, event_type, aggregate_type, aggregate_id FROM {table} \
                 WHERE event_id IN (?)"
            )
        });
        let ids: Vec<_> = ids.iter().map(|id| *id.as_uuid()).collect();
        let binds = std::array::from_fn::<_, 3, _>(|_| any_of_ids(ids.clone()));
        let select = Sql::new(dialect, tables, &selects.join(" UNION ALL "), binds);
        for row in tx.query_all_raw(select.build()).await? {
            let event_id = EventId::from(row.try_get_by_index::<Uuid>(0)?);
            known.insert(event_id, Identity::at(&row)?);
        }
    }
    Ok(known)
}
