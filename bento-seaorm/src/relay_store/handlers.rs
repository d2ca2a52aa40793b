//! The recorded handlers.
//!
//! A process that starts reads the record, and locks nothing if it finds there what it has to
//! record. Only a change locks every lease: no relay reads rows while it is made.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bento_relay::publish::{HandlerRoute, StartFrom};
use bento_relay::store::{
    Leftovers, NewDeadLetter, RecordedHandler, RelayId, ServedHandler, StoreError,
};
use bento_relay::telemetry::TARGET_RELAY;
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Value};

use super::errors::{StoreFailure, retrying, store_error};
use super::{OutboxStore, all_shards};
use crate::dialect::{Bind, Dialect, Sql, binds};
use crate::entity::lossy_at;
use crate::session::StoreTransaction;
use crate::tables::Tables;

/// The handlers that this process has recorded, and is to record again once the tables were dropped
/// or cleared.
#[derive(Debug, Default)]
pub(super) struct OwnHandlers {
    routes: Mutex<Vec<HandlerRoute>>,
    are_lost: AtomicBool,
}

impl OwnHandlers {
    pub(super) fn set(&self, routes: &[HandlerRoute]) {
        *self.lock() = routes.to_vec();
    }

    /// Notes that the record may be gone.
    pub(super) fn may_be_lost(&self) {
        self.are_lost.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<HandlerRoute>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records the handlers of this process once more, if the record may be gone.
pub(super) async fn restore(store: &OutboxStore) -> Result<(), StoreFailure> {
    let own = &store.handlers;
    if !own.are_lost.swap(false, Ordering::Relaxed) {
        return Ok(());
    }
    let routes = own.lock().clone();
    let restored = record_once(store, &routes).await;
    if restored.is_err() {
        own.may_be_lost();
    }
    restored
}

/// The columns that [`recorded_at`] reads.
pub(crate) const RECORDED: &str = "name, takes, ordered, starts_after, starts_at, \
    paused_at IS NOT NULL AS is_paused";

/// Reads the record.
pub(crate) async fn read(
    db: &impl ConnectionTrait,
    dialect: &'static dyn Dialect,
    tables: &Tables,
) -> Result<Vec<RecordedHandler>, DbErr> {
    let select = format!("SELECT {RECORDED} FROM {{handler}}");
    let rows = db
        .query_all_raw(Sql::new(dialect, tables, &select, []).build())
        .await?;
    let mut handlers: Vec<_> = rows.iter().map(recorded_at).collect::<Result<_, DbErr>>()?;
    // Not every back end orders text by its bytes.
    handlers.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(handlers)
}

/// Reads [`RECORDED`].
pub(crate) fn recorded_at(row: &QueryResult) -> Result<RecordedHandler, DbErr> {
    let (name, takes): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    let takes = serde_json::from_str(&takes).map_err(|error| {
        DbErr::Type(format!(
            "the event types of handler `{name}` cannot be read: {error}"
        ))
    })?;
    Ok(RecordedHandler {
        name: name.into(),
        takes: texts(takes),
        ordered: row.try_get_by_index(2)?,
        starts_after: row.try_get_by_index(3)?,
        starts_at: row.try_get_by_index(4)?,
        is_paused: row.try_get_by_index(5)?,
    })
}

/// The handlers that a relay serves, as they are stored in its row.
pub(super) fn served_to_text(served: &[ServedHandler]) -> Option<String> {
    let by_name: BTreeMap<&str, Vec<&str>> = served
        .iter()
        .map(|handler| (&*handler.name, words(&handler.takes)))
        .collect();
    (!by_name.is_empty()).then(|| serde_json::json!(by_name).to_string())
}

/// The same, read; none from a text that cannot be read.
pub(crate) fn served_at(row: &QueryResult, column: usize) -> Result<Vec<ServedHandler>, DbErr> {
    let text: Option<String> = row.try_get_by_index(column)?;
    let by_name: BTreeMap<String, Vec<String>> = text
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let served = by_name.into_iter().map(|(name, takes)| ServedHandler {
        name: name.into(),
        takes: texts(takes),
    });
    Ok(served.collect())
}

/// Records the handlers of a process that starts.
pub(super) async fn record(store: &OutboxStore, routes: &[HandlerRoute]) -> Result<(), StoreError> {
    retrying(store.db.get_database_backend(), || {
        record_once(store, routes)
    })
    .await
}

async fn record_once(store: &OutboxStore, routes: &[HandlerRoute]) -> Result<(), StoreFailure> {
    let dialect = store.dialect()?;
    let known = read(&store.db, dialect, &store.tables).await?;
    let living = living_ones(&store.db, dialect, &store.tables).await?;
    if changes(routes, &known, &living).is_empty() {
        return Ok(());
    }
    let recording = Recording::begin(store).await?;
    let known = read(&recording.tx, dialect, recording.tables).await?;
    let living = living_ones(&recording.tx, dialect, recording.tables).await?;
    let changes = changes(routes, &known, &living);
    let last = recording.last_position().await?;
    for change in &changes {
        recording.apply(change, last).await?;
    }
    if changes.is_empty() {
        return Ok(recording.tx.rollback().await?);
    }
    recording.commit().await?;
    for Change { route, .. } in changes.iter().filter(|change| change.is_new) {
        let (handler, from) = (&*route.name, route.from);
        tracing::info!(
            target: TARGET_RELAY, handler, ?from,
            "a new handler is recorded: it starts with the events that `from` names",
        );
    }
    Ok(())
}

/// Counts the held rows and the dead letters of each route.
pub(crate) async fn leftovers(
    store: &OutboxStore,
) -> Result<BTreeMap<Arc<str>, Leftovers>, StoreError> {
    let counts = "SELECT route, COUNT(*), 0 FROM {held} GROUP BY route \
                  UNION ALL SELECT route, COUNT(*), 1 FROM {dead_letter} GROUP BY route";
    let dialect = store.dialect()?;
    let counts = Sql::new(dialect, &store.tables, counts, []);
    let rows = store.db.query_all_raw(counts.build()).await;
    let rows = rows.map_err(|error| store_error(dialect.backend(), error))?;
    let mut found: BTreeMap<Arc<str>, Leftovers> = BTreeMap::new();
    for row in rows {
        let route: Arc<str> = lossy_at(&row, 0).into();
        let count = row
            .try_get_by_index::<i64>(1)
            .unwrap_or_default()
            .unsigned_abs();
        let leftovers = found.entry(route).or_default();
        match row.try_get_by_index::<i32>(2) {
            Ok(0) => leftovers.held = count,
            _ => leftovers.dead = count,
        }
    }
    Ok(found)
}

/// Adds the event types that a relay serves and that are missing in the record of its handlers: a
/// process of an older release replaced it before this relay gave its first sign of life.
pub(super) async fn widen(
    store: &OutboxStore,
    served: &[ServedHandler],
    recorded: &[RecordedHandler],
) -> Result<(), StoreFailure> {
    let is_narrow = |handler: &&RecordedHandler| {
        let mut own = served.iter().filter(|own| own.name == handler.name);
        own.any(|own| own.takes.iter().any(|takes| !handler.takes.contains(takes)))
    };
    if !recorded.iter().any(|handler| is_narrow(&handler)) {
        return Ok(());
    }
    let recording = Recording::begin(store).await?;
    let known = read(&recording.tx, recording.dialect, recording.tables).await?;
    for handler in known.iter().filter(is_narrow) {
        let mut route = HandlerRoute::new(Arc::clone(&handler.name), handler.takes.clone());
        route.ordered = handler.ordered;
        let takes = ServedHandler::takes_with(&route, served);
        recording
            .update(&handler.name, &takes, handler.ordered)
            .await?;
    }
    recording.commit().await
}

/// Returns the handlers that the relays serve which are alive.
async fn living_ones(
    db: &impl ConnectionTrait,
    dialect: &'static dyn Dialect,
    tables: &Tables,
) -> Result<Vec<ServedHandler>, DbErr> {
    let relays = living_relays(db, dialect, tables).await?;
    Ok(relays.into_iter().flat_map(|(_, served)| served).collect())
}

/// Returns the relays that are alive and serve handlers, with these, ordered by id.
pub(crate) async fn living_relays(
    db: &impl ConnectionTrait,
    dialect: &'static dyn Dialect,
    tables: &Tables,
) -> Result<Vec<(RelayId, Vec<ServedHandler>)>, DbErr> {
    let select = "SELECT id, handlers FROM {relay} \
                  WHERE expires_at > {now} AND handlers IS NOT NULL ORDER BY id";
    let rows = db
        .query_all_raw(Sql::new(dialect, tables, select, []).build())
        .await?;
    let relay = |row| {
        Ok((
            RelayId(QueryResult::try_get_by_index(row, 0)?),
            served_at(row, 1)?,
        ))
    };
    rows.iter().map(relay).collect()
}

/// A handler whose record is to be made or replaced.
struct Change<'a> {
    route: &'a HandlerRoute,
    takes: Vec<Arc<str>>,
    is_new: bool,
}

fn changes<'a>(
    routes: &'a [HandlerRoute],
    known: &[RecordedHandler],
    living: &[ServedHandler],
) -> Vec<Change<'a>> {
    let change = |route: &'a HandlerRoute| {
        let takes = ServedHandler::takes_with(route, living);
        let known = known.iter().find(|known| known.name == route.name);
        let is_same =
            known.is_some_and(|known| known.takes == takes && known.ordered == route.ordered);
        let is_new = known.is_none();
        (!is_same).then_some(Change {
            route,
            takes,
            is_new,
        })
    };
    routes.iter().filter_map(change).collect()
}

/// A transaction that changes the record, while no relay reads rows.
pub(crate) struct Recording<'a> {
    pub(crate) tx: StoreTransaction,
    pub(crate) dialect: &'static dyn Dialect,
    pub(crate) tables: &'a Tables,
}

impl<'a> Recording<'a> {
    pub(crate) async fn begin(store: &'a OutboxStore) -> Result<Self, StoreFailure> {
        let (tx, dialect) = store.begin().await?;
        let tables = store.tables();
        all_shards::lock(&tx, dialect, tables).await?;
        Ok(Self {
            tx,
            dialect,
            tables,
        })
    }

    /// Returns the last position of a row whose routes are still to be found.
    async fn last_position(&self) -> Result<i64, DbErr> {
        let select = self.sql(
            "SELECT MAX(pending), MAX(queued) FROM (SELECT \
             (SELECT MAX(o.position) FROM {outbox} o WHERE o.shard = s.shard) AS pending, \
             (SELECT MAX(h.position) FROM {held} h WHERE h.shard = s.shard AND h.route = ?) \
             AS queued FROM {shard} s) last",
            binds![NewDeadLetter::UNROUTABLE],
        );
        let Some(row) = self.tx.query_one_raw(select.build()).await? else {
            return Ok(0);
        };
        let pending: Option<i64> = row.try_get_by_index(0)?;
        Ok(pending.max(row.try_get_by_index(1)?).unwrap_or_default())
    }

    async fn apply(&self, change: &Change<'_>, last: i64) -> Result<(), DbErr> {
        let Change {
            route,
            takes,
            is_new,
        } = change;
        if !is_new {
            return self.update(&route.name, takes, route.ordered).await;
        }
        let starts_after = match route.from {
            StartFrom::Now => last,
            StartFrom::Beginning | StartFrom::At(_) => 0,
        };
        let none = Value::ChronoDateTimeUtc(None);
        let starts_at = route
            .from
            .time()
            .map_or(none, |time| self.dialect.event_time(time));
        let insert = self.sql(
            "INSERT INTO {handler} (name, takes, ordered, starts_after, starts_at, recorded_at) \
             VALUES (?, ?, ?, ?, ?, {now})",
            binds![
                &*route.name,
                to_text(takes),
                route.ordered,
                starts_after,
                starts_at
            ],
        );
        self.tx.execute_raw(insert.build()).await?;
        Ok(())
    }

    async fn update(&self, name: &str, takes: &[Arc<str>], ordered: bool) -> Result<(), DbErr> {
        let update = self.sql(
            "UPDATE {handler} SET takes = ?, ordered = ? WHERE name = ?",
            binds![to_text(takes), ordered, name],
        );
        self.tx.execute_raw(update.build()).await?;
        Ok(())
    }

    /// Commits, and tells every relay of the change.
    pub(crate) async fn commit(self) -> Result<(), StoreFailure> {
        all_shards::tell(&self.tx, self.dialect, self.tables).await?;
        Ok(self.tx.commit().await?)
    }

    pub(crate) fn sql(&self, text: &str, binds: impl IntoIterator<Item = Bind>) -> Sql<'_> {
        Sql::new(self.dialect, self.tables, text, binds)
    }
}

fn to_text(takes: &[Arc<str>]) -> String {
    serde_json::json!(words(takes)).to_string()
}

fn words(texts: &[Arc<str>]) -> Vec<&str> {
    texts.iter().map(|text| &**text).collect()
}

fn texts(texts: Vec<String>) -> Vec<Arc<str>> {
    texts.into_iter().map(Arc::from).collect()
}
