//! Events whose id the caller chose, and which may therefore be stored already.

use std::collections::{HashMap, HashSet};

use bento_core::EventId;
use bento_core::envelope::Envelope;
use bento_core::outbox::OutboxEntry;
use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult, Statement};
use uuid::Uuid;

use crate::dialect::{Bind, Dialect, Sql, marks};
use crate::error::Error;
use crate::tables::Tables;

/// Each id is a parameter four times; SQLite has the fewest parameters.
const IDS_PER_STATEMENT: usize = 8_000;

/// The identity of an event, which is the same in each repetition. The payload may differ, for
/// instance by a time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    tenant_id: Option<String>,
    event_type: String,
    aggregate_type: String,
    aggregate_id: String,
}

/// The entries that were to be written, by their ids.
type Wanted = HashMap<EventId, Identity>;

impl Identity {
    fn of(event: &Envelope) -> Self {
        Self {
            tenant_id: event.tenant_id.clone().filter(|tenant| !tenant.is_empty()),
            event_type: event.event_type.clone().into_owned(),
            aggregate_type: event.aggregate_type.clone().into_owned(),
            aggregate_id: event.aggregate_id.clone(),
        }
    }

    /// From the columns [`IDENTITY`].
    fn at(row: &QueryResult) -> Result<Self, Error> {
        Ok(Self {
            tenant_id: row.try_get_by_index(1)?,
            event_type: row.try_get_by_index(2)?,
            aggregate_type: row.try_get_by_index(3)?,
            aggregate_id: row.try_get_by_index(4)?,
        })
    }
}

const IDENTITY: &str = "event_id, tenant_id, event_type, aggregate_type, aggregate_id";

/// Removes the entries whose id is pending, held, dead, or published and kept already, and returns
/// their ids: one statement, for supplied ids only.
///
/// # Errors
/// [`Error::EventIdTaken`] if the id is that of another event.
pub(super) async fn leave_out(
    tx: &DatabaseTransaction,
    dialect: &'static dyn Dialect,
    tables: &Tables,
    entries: &mut Vec<OutboxEntry>,
) -> Result<HashSet<EventId>, Error> {
    let everywhere = ["{outbox}", "{held}", "{dead_letter}", "{published}"];
    let known = known_among(tx, dialect, tables, &everywhere, "", &wanted(entries)?).await?;
    entries.retain(|entry| !known.contains(&entry.envelope.event_id));
    Ok(known)
}

/// Writes entries, some of which another transaction may be writing at this moment. Returns the ids
/// of those that it has written.
///
/// # Errors
/// [`Error::EventIdTaken`] if the id is that of another event.
pub(super) async fn insert_unless_there(
    tx: &DatabaseTransaction,
    dialect: &'static dyn Dialect,
    tables: &Tables,
    entries: Vec<OutboxEntry>,
    values: &(dyn Fn(usize) -> String + Sync),
) -> Result<HashSet<EventId>, Error> {
    let mut wanted = wanted(&entries)?;
    let mut known: HashSet<_> = entries
        .iter()
        .map(|entry| entry.envelope.event_id)
        .collect();
    let mut end = dialect.or_leave(tables.outbox(), &["event_id"]);
    let Some(returning) = dialect.returning("event_id") else {
        let statement = dialect.insert(tables, entries, &end, values);
        tx.execute_raw(statement)
            .await
            .map_err(|error| Error::from_statement(dialect.backend(), error))?;
        // Those of another transaction are seen only by locking them, as the INSERT has done.
        let outbox = ["{outbox}"];
        known_among(tx, dialect, tables, &outbox, "{lock_rows}", &wanted).await?;
        return Ok(HashSet::new());
    };
    end.push_str(&returning);
    let statement = dialect.insert(tables, entries, &end, values);
    for row in rows(tx, dialect, statement).await? {
        known.remove(&row.try_get_by_index::<Uuid>(0)?.into());
    }
    wanted.retain(|id, _| known.contains(id));
    known_among(tx, dialect, tables, &["{outbox}"], "", &wanted).await?;
    Ok(known)
}

/// The identities of the entries whose ids were supplied.
fn wanted(entries: &[OutboxEntry]) -> Result<Wanted, Error> {
    let mut wanted = Wanted::new();
    for entry in entries.iter().filter(|entry| entry.may_be_known) {
        let event_id = entry.envelope.event_id;
        let identity = Identity::of(&entry.envelope);
        if wanted
            .insert(event_id, identity.clone())
            .is_some_and(|other| other != identity)
        {
            return Err(Error::EventIdTaken { event_id });
        }
    }
    Ok(wanted)
}

/// The ids that one of the tables knows, each for the same event.
async fn known_among(
    tx: &DatabaseTransaction,
    dialect: &'static dyn Dialect,
    tables: &Tables,
    places: &[&str],
    end: &str,
    wanted: &Wanted,
) -> Result<HashSet<EventId>, Error> {
    let ids: Vec<_> = wanted.keys().copied().collect();
    let mut known = HashSet::new();
    for ids in ids.chunks(IDS_PER_STATEMENT) {
        let ids_in_order = || ids.iter().map(|id| Bind::from(*id.as_uuid()));
        let mut sql = Sql::new(dialect, tables, "", []);
        for (nth, place) in places.iter().enumerate() {
            let union = if nth == 0 { "" } else { " UNION ALL " };
            let marks = marks(ids.len());
            let select =
                format!("{union}SELECT {IDENTITY} FROM {place} WHERE event_id IN ({marks})");
            sql = sql.then(&select, ids_in_order());
        }
        let statement = sql.then(end, []).build();
        for row in rows(tx, dialect, statement).await? {
            let event_id = EventId::from(row.try_get_by_index::<Uuid>(0)?);
            if wanted.get(&event_id) != Some(&Identity::at(&row)?) {
                return Err(Error::EventIdTaken { event_id });
            }
            known.insert(event_id);
        }
    }
    Ok(known)
}

async fn rows(
    tx: &DatabaseTransaction,
    dialect: &'static dyn Dialect,
    statement: Statement,
) -> Result<Vec<QueryResult>, Error> {
    tx.query_all_raw(statement)
        .await
        .map_err(|error| Error::from_statement(dialect.backend(), error))
}
