//! The row of a version.

use std::time::Duration;

use bento_core::EventId;
use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use uuid::Uuid;

use super::{BuildProgress, ProjectionKey, ProjectionStatus, ProjectionStop};
use crate::connection::OutboxConnection;
use crate::dialect::{self, Dialect, Sql, binds};
use crate::error::Error;
use crate::tables::Tables;
use crate::transaction::OutboxTransaction;

/// The row of a version, as the code that projects reads it.
#[derive(Clone, Debug)]
#[doc(hidden)]
pub struct ProjectionRow {
    /// The status.
    pub status: ProjectionStatus,
    /// The place up to which the build has read; `None` for its beginning.
    pub place: Option<String>,
    /// The process that builds it, as long as its time has not run out.
    pub builder: Option<Uuid>,
    /// The failures since it has gone on at the event that is noted.
    pub failures: u32,
    /// The event at which it failed first; `None` if the reason is not one of the events.
    pub failed_event: Option<EventId>,
    /// The time since the last failure that was counted.
    pub failed_ago: Duration,
    /// The error of that event, with its causes.
    pub reason: Option<String>,
    /// The stop; `None` if it goes on.
    pub stop: Option<ProjectionStop>,
    /// True if an operator has said that events are left out.
    pub skips: bool,
    /// True while events that it raised before it was live are still on their way to the outbox.
    pub releases: bool,
    /// The progress of the build.
    pub build: BuildProgress,
    /// The time at which it was recorded.
    pub created_at: DateTime<Utc>,
    /// The time at which it became live.
    pub live_at: Option<DateTime<Utc>>,
}

impl ProjectionRow {
    /// True if what it raises is held: the outbox gets it behind what was raised before.
    pub fn holds_effects(&self) -> bool {
        self.status.is_before_live() || self.releases
    }
}

/// The columns that [`row_at`] reads, behind the name and the version.
const COLUMNS: &str = "status, place, builder, COALESCE({micros_until builder_expires_at}, 0), \
    failures, failed_event, reason, {read_time stopped_at}, skips, built, total, build_seconds, \
    {read_time created_at}, {read_time live_at}, releases, COALESCE({micros_until failed_at}, 0)";

/// Reads [`COLUMNS`].
fn row_at(row: &QueryResult, first: usize) -> Result<ProjectionRow, DbErr> {
    let status: String = row.try_get_by_index(first)?;
    let status = ProjectionStatus::of_text(&status).ok_or_else(|| {
        DbErr::Type(format!(
            "unknown status `{status}` of a projection: it is of a newer release"
        ))
    })?;
    let builder: Option<Uuid> = row.try_get_by_index(first + 2)?;
    let expires_in: i64 = row.try_get_by_index(first + 3)?;
    let failed_event: Option<Uuid> = row.try_get_by_index(first + 5)?;
    let failed_event = failed_event.map(EventId::from);
    let reason: Option<String> = row.try_get_by_index(first + 6)?;
    let stopped_at: Option<DateTime<Utc>> = row.try_get_by_index(first + 7)?;
    let number = |column| row.try_get_by_index::<i64>(column).map(i64::unsigned_abs);
    let seconds: f64 = row.try_get_by_index(first + 11)?;
    let failed_in: i64 = row.try_get_by_index(first + 15)?;
    Ok(ProjectionRow {
        status,
        place: row.try_get_by_index(first + 1)?,
        builder: builder.filter(|_| expires_in > 0),
        failures: row.try_get_by_index::<i32>(first + 4)?.unsigned_abs(),
        failed_event,
        failed_ago: Duration::from_micros(failed_in.unsigned_abs()),
        stop: stopped_at.map(|stopped_at| ProjectionStop {
            event_id: failed_event,
            reason: reason.clone().unwrap_or_default(),
            stopped_at,
        }),
        reason,
        skips: row.try_get_by_index(first + 8)?,
        build: BuildProgress {
            read: number(first + 9)?,
            total: number(first + 10)?,
            worked: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
        },
        created_at: row.try_get_by_index(first + 12)?,
        live_at: row.try_get_by_index(first + 13)?,
        releases: row.try_get_by_index(first + 14)?,
    })
}

/// Reads every version, ordered by name and version.
pub(super) async fn all<C: ConnectionTrait>(
    db: &C,
    dialect: &'static dyn Dialect,
    tables: &Tables,
) -> Result<Vec<(ProjectionKey, ProjectionRow)>, DbErr> {
    let select = format!("SELECT name, version, {COLUMNS} FROM {{projection}}");
    let rows = db
        .query_all_raw(Sql::new(dialect, tables, &select, []).build())
        .await?;
    let read = |row: &QueryResult| {
        let name: String = row.try_get_by_index(0)?;
        let version: i32 = row.try_get_by_index(1)?;
        Ok((
            ProjectionKey::new(name, version.unsigned_abs()),
            row_at(row, 2)?,
        ))
    };
    let mut all: Vec<_> = rows.iter().map(read).collect::<Result<_, DbErr>>()?;
    // Not every back end orders text by its bytes.
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(all)
}

/// Reads the row of a version. With `lock` it is locked until the end of the transaction.
fn select<'a>(
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    key: &ProjectionKey,
    lock: &str,
) -> Sql<'a> {
    let select =
        format!("SELECT {COLUMNS} FROM {{projection}} WHERE name = ? AND version = ?{lock}");
    Sql::new(dialect, tables, &select, binds![&*key.name, key.number()])
}

impl OutboxTransaction {
    /// Locks the row of a version until the end of the transaction; `None` if there is none.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn lock_projection(
        &self,
        key: &ProjectionKey,
    ) -> Result<Option<ProjectionRow>, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let select = select(dialect, self.tables(), key, "{lock_rows}").build();
        let row = self
            .run_own(move |session| async move { session.query_one_raw(select).await })
            .await?;
        let row = row.map(|row| row_at(&row, 0)).transpose();
        row.map_err(Error::Database)
    }
}

impl OutboxTransaction {
    /// Locks the row of a version as [`lock_projection`](Self::lock_projection) does, and waits for
    /// it no longer than this, where the database can limit that: a wait that the caller has given
    /// up would keep its connection.
    ///
    /// # Errors
    /// [`Error`]; another transaction is in the way.
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn lock_projection_within(
        &self,
        key: &ProjectionKey,
        wait: Duration,
    ) -> Result<Option<ProjectionRow>, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let limit = dialect.lock_within(wait);
        let select = select(dialect, self.tables(), key, &limit.end).build();
        let row = self
            .run_own(move |session| async move {
                if let Some(before) = limit.before {
                    session.execute_unprepared(&before).await?;
                }
                let row = session.query_one_raw(select).await?;
                if let Some(behind) = limit.behind {
                    session.execute_unprepared(behind).await?;
                }
                Ok(row)
            })
            .await?;
        let row = row.map(|row| row_at(&row, 0)).transpose();
        row.map_err(Error::Database)
    }
}

impl OutboxConnection {
    /// Reads the row of a version; `None` if there is none.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// It only reads.
    #[doc(hidden)]
    pub async fn projection(&self, key: &ProjectionKey) -> Result<Option<ProjectionRow>, Error> {
        let backend = self.get_database_backend();
        let dialect = dialect::of(backend)?;
        let select = select(dialect, self.tables(), key, "").build();
        let row = self.shielded().query_one_raw(select).await;
        let row = row.map_err(|error| Error::from_statement(backend, error))?;
        let row = row.map(|row| row_at(&row, 0)).transpose();
        row.map_err(Error::Database)
    }

    /// Reads every version of every projection, ordered by name and version.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// It only reads.
    #[doc(hidden)]
    pub async fn projections(&self) -> Result<Vec<(ProjectionKey, ProjectionRow)>, Error> {
        let backend = self.get_database_backend();
        let dialect = dialect::of(backend)?;
        let rows = all(self.shielded(), dialect, self.tables()).await;
        rows.map_err(|error| Error::from_statement(backend, error))
    }

    /// Records a version, unless it is recorded.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    #[doc(hidden)]
    pub async fn record_projection(
        &self,
        key: &ProjectionKey,
        status: ProjectionStatus,
    ) -> Result<(), Error> {
        let backend = self.get_database_backend();
        let dialect = dialect::of(backend)?;
        let tables = self.tables();
        let insert = Sql::new(
            dialect,
            tables,
            "INSERT INTO {projection} (name, version, status, created_at) VALUES (?, ?, ?, {now})",
            binds![&*key.name, key.number(), status.as_str()],
        )
        .or_leave(tables.projection(), &["name", "version"]);
        let recorded = self.shielded().execute_raw(insert.build()).await;
        recorded.map_err(|error| Error::from_statement(backend, error))?;
        Ok(())
    }

    /// The version of a projection whose read model is the one to be read; `None` until its first
    /// build has ended.
    ///
    /// The answer is true when it is given. What a reader finds is never half built, whenever it
    /// asks: the tables of a version that was live are kept until an operator
    /// [drops](super::Projections::retire) it.
    ///
    /// ```no_run
    /// # async fn example(db: &bento_seaorm::OutboxConnection) -> Result<(), bento_seaorm::Error> {
    /// match db.live_version("balances").await? {
    ///     Some(2) => { /* read `balance_v2` */ }
    ///     Some(_) => { /* read `balance_v1` */ }
    ///     None => { /* it is being built for the first time */ }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// It only reads.
    pub async fn live_version(&self, name: &str) -> Result<Option<u32>, Error> {
        let backend = self.get_database_backend();
        let dialect = dialect::of(backend)?;
        let select = Sql::new(
            dialect,
            self.tables(),
            "SELECT MAX(version) FROM {projection} WHERE name = ? AND status = ?",
            binds![name, ProjectionStatus::Live.as_str()],
        );
        let row = self.shielded().query_one_raw(select.build()).await;
        let row = row.map_err(|error| Error::from_statement(backend, error))?;
        let version = row.map_or(Ok(None), |row| row.try_get_by_index::<Option<i32>>(0));
        Ok(version.map_err(Error::Database)?.map(i32::unsigned_abs))
    }
}
