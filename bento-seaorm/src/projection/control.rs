//! Commands for projections.

use std::fmt;

use bento_core::EventId;
use bento_relay::handler_control::{HandlerControl as _, HandlerPause, HandlerState};
use bento_relay::held::{HeldEvents as _, HeldFilter};
use bento_relay::store::StoreError;
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::ending::Ending;
use super::{ProjectionKey, ProjectionRow, ProjectionState, ProjectionStatus, TARGET, record};
use crate::dialect::{Bind, Sql, binds};
use crate::relay_store::{OutboxStore, retrying, store_error};

/// The projections of a database, for operators.
///
/// ```no_run
/// # use bento_seaorm::{OutboxStore, ProjectionError, ProjectionKey, Projections};
/// # async fn example(store: OutboxStore) -> Result<(), ProjectionError> {
/// let projections = Projections::new(store);
/// for state in projections.list().await? {
///     println!("{} is {}: {:?}", state.key, state.status, state.stop);
/// }
/// // After the reason of a stop was mended:
/// projections.retry(&ProjectionKey::new("balances", 2)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Projections {
    /// The store of the outbox.
    pub(super) store: OutboxStore,
    /// The store of the inbox, whose relays bring events of other services.
    pub(super) inbox: OutboxStore,
}

/// A command for a projection was refused. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectionError {
    /// There is no such version.
    #[error(
        "{key} is not recorded: a relay that serves it records it when it starts; {}",
        Known(.known)
    )]
    Unknown {
        /// The version.
        key: ProjectionKey,
        /// The versions that are recorded.
        known: Vec<ProjectionKey>,
    },
    /// The projection has not stopped.
    #[error("{key} has not stopped, so that there is nothing to try again or to skip")]
    NotStopped {
        /// The version.
        key: ProjectionKey,
    },
    /// The projection has stopped at another event.
    #[error(
        "{key} has stopped at {}, not at event {event_id}: only the event at which it has stopped \
         can be skipped", Stopped(.stopped_at)
    )]
    NotStoppedThere {
        /// The version.
        key: ProjectionKey,
        /// The event that was to be skipped.
        event_id: EventId,
        /// The event at which it has stopped; `None` if the reason is not one of the events.
        stopped_at: Option<EventId>,
    },
    /// The status does not allow it.
    #[error("{key} is {status}: {rule}")]
    Status {
        /// The version.
        key: ProjectionKey,
        /// The status.
        status: ProjectionStatus,
        /// The rule, and the way out.
        rule: &'static str,
    },
    /// The store refused it, or is unavailable.
    #[error(transparent)]
    Store(#[from] StoreError),
}

struct Known<'a>(&'a [ProjectionKey]);

impl fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none is recorded");
        }
        f.write_str("recorded are ")?;
        for (nth, key) in self.0.iter().enumerate() {
            let comma = if nth == 0 { "" } else { ", " };
            write!(f, "{comma}`{}`", key.route())?;
        }
        Ok(())
    }
}

struct Stopped<'a>(&'a Option<EventId>);

impl fmt::Display for Stopped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(event) => write!(f, "event {event}"),
            None => f.write_str("no event of its own"),
        }
    }
}

impl Projections {
    /// The projections of the database of a store: of its outbox, or of its inbox, which has the
    /// same ones. Each command is for the events of both.
    pub fn new(store: OutboxStore) -> Self {
        Self {
            inbox: store.of_inbox(),
            store: store.of_outbox(),
        }
    }

    /// The stores whose relays bring events to projections.
    pub(super) fn sides(&self) -> [&OutboxStore; 2] {
        [&self.store, &self.inbox]
    }

    /// Returns every version, ordered by name and version. It counts held events: ask every few
    /// seconds.
    ///
    /// # Errors
    /// [`ProjectionError::Store`].
    ///
    /// # Cancel safety
    /// It only reads.
    pub async fn list(&self) -> Result<Vec<ProjectionState>, ProjectionError> {
        let rows = self.rows().await?;
        let mut handlers = self.store.handlers().await?;
        handlers.append(&mut self.inbox.handlers().await?);
        let state = |(key, row): (ProjectionKey, ProjectionRow)| {
            let route = key.route();
            let of_both = handlers.iter().filter(|handler| *handler.name == *route);
            state_of(key, row, of_both)
        };
        Ok(rows.into_iter().map(state).collect())
    }

    /// Stops the calls of a version until it is [resumed](Self::resume): its build, and the events
    /// of relays, which are held in their order. Returns false if it is paused already; the first
    /// reason then stays.
    ///
    /// # Errors
    /// [`ProjectionError::Unknown`], [`ProjectionError::Store`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    pub async fn pause(
        &self,
        key: &ProjectionKey,
        reason: &str,
        actor: Option<&str>,
    ) -> Result<bool, ProjectionError> {
        self.row(key).await?;
        let mut paused = Vec::new();
        for side in self.sides() {
            paused.push(side.pause_handler(&key.route(), reason, actor).await);
        }
        let is_paused = of_sides(paused, key)?;
        if is_paused {
            let projection = key.route();
            tracing::info!(target: TARGET, projection, reason, actor, "a projection is paused");
        }
        Ok(is_paused)
    }

    /// Ends a [pause](Self::pause). Returns false if there is none.
    ///
    /// # Errors
    /// [`ProjectionError::Unknown`], [`ProjectionError::Store`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    pub async fn resume(&self, key: &ProjectionKey) -> Result<bool, ProjectionError> {
        self.row(key).await?;
        let mut resumed = Vec::new();
        for side in self.sides() {
            resumed.push(side.resume_handler(&key.route()).await);
        }
        let is_resumed = of_sides(resumed, key)?;
        if is_resumed {
            tracing::info!(target: TARGET, projection = key.route(), "a projection is resumed");
        }
        Ok(is_resumed)
    }

    /// Lets a version that has stopped go on at the event at which it has stopped. Events that are
    /// held for it are due at once.
    ///
    /// # Errors
    /// [`ProjectionError::NotStopped`], [`ProjectionError::Unknown`], [`ProjectionError::Store`].
    ///
    /// # Cancel safety
    /// A dropped call has let it go on or has not; calling it again does the rest.
    pub async fn retry(&self, key: &ProjectionKey) -> Result<(), ProjectionError> {
        if self.row(key).await?.stop.is_none() {
            return Err(ProjectionError::NotStopped { key: key.clone() });
        }
        self.go_on(key, None).await?;
        tracing::info!(target: TARGET, projection = key.route(), "a projection is retried");
        Ok(())
    }

    /// Leaves out the event at which a version has stopped, and lets it go on. Who said so and why
    /// is kept in `bento_projection_skip`. A build of another version comes to the event again.
    ///
    /// # Errors
    /// [`ProjectionError::NotStoppedThere`], [`ProjectionError::NotStopped`],
    /// [`ProjectionError::Unknown`], [`ProjectionError::Store`].
    ///
    /// # Cancel safety
    /// A dropped call has let it go on or has not; calling it again does the rest.
    pub async fn skip(
        &self,
        key: &ProjectionKey,
        event_id: EventId,
        reason: &str,
        actor: Option<&str>,
    ) -> Result<(), ProjectionError> {
        HandlerPause::check(reason, actor).map_err(StoreError::from)?;
        let Some(stop) = self.row(key).await?.stop else {
            return Err(ProjectionError::NotStopped { key: key.clone() });
        };
        if stop.event_id != Some(event_id) {
            return Err(ProjectionError::NotStoppedThere {
                key: key.clone(),
                event_id,
                stopped_at: stop.event_id,
            });
        }
        self.go_on(key, Some((event_id, reason, actor))).await?;
        tracing::info!(
            target: TARGET, projection = key.route(), event = %event_id, reason, actor,
            "an event is skipped by a projection",
        );
        Ok(())
    }

    /// Begins the build of a version that waits for it.
    ///
    /// # Errors
    /// [`ProjectionError::Status`] for a version that does not wait, [`ProjectionError::Unknown`],
    /// [`ProjectionError::Store`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all.
    pub async fn build(&self, key: &ProjectionKey) -> Result<(), ProjectionError> {
        let status = self.row(key).await?.status;
        if status != ProjectionStatus::Waiting {
            return Err(ProjectionError::Status {
                key: key.clone(),
                status,
                rule: "only a version that waits is built when it is told to; give the projection \
                       a higher version to build it anew",
            });
        }
        let update = "UPDATE {projection} SET status = 'building' WHERE name = ? AND version = ? \
                      AND status = 'waiting'";
        self.run(&[(update, binds![&*key.name, key.number()].into())])
            .await?;
        tracing::info!(target: TARGET, projection = key.route(), "a projection is to be built");
        Ok(())
    }

    /// Ends a version that was replaced: relays bring it no more events, and those that are held
    /// for it are dropped. Its tables are left as they are; drop them by a migration of your own,
    /// once nothing reads them.
    ///
    /// A version that no relay serves is ended by the live one, so this is for one whose code still
    /// runs. A relay that serves it records it again when it starts.
    ///
    /// # Errors
    /// [`ProjectionError::Status`] for a version that was not replaced,
    /// [`ProjectionError::Unknown`], [`ProjectionError::Store`].
    ///
    /// # Cancel safety
    /// A dropped call has ended it or has not; calling it again does the rest.
    pub async fn retire(&self, key: &ProjectionKey) -> Result<(), ProjectionError> {
        let status = self.row(key).await?.status;
        if !matches!(
            status,
            ProjectionStatus::Replaced | ProjectionStatus::Retired
        ) {
            return Err(ProjectionError::Status {
                key: key.clone(),
                status,
                rule: "a version is retired once a higher one is live; to drop a projection for \
                       good, remove it from the program and call `forget`",
            });
        }
        self.end(key, Ending::Retired).await?;
        tracing::info!(target: TARGET, projection = key.route(), "a projection is retired");
        Ok(())
    }

    /// Forgets a version that no relay serves: its record, its checkpoints, and the events that are
    /// held for it or that it raised. Its tables are left as they are. A projection that got
    /// another name leaves its old one behind, which is ended by this.
    ///
    /// # Errors
    /// [`ProjectionError::Status`] for one that a relay serves, [`ProjectionError::Unknown`],
    /// [`ProjectionError::Store`].
    ///
    /// # Cancel safety
    /// A dropped call leaves a version that is stopped or whole; calling it again does the rest.
    pub async fn forget(&self, key: &ProjectionKey) -> Result<(), ProjectionError> {
        let status = self.row(key).await?.status;
        if !self.end(key, Ending::Forgotten).await? {
            return Err(ProjectionError::Status {
                key: key.clone(),
                status,
                rule: "a relay serves it; deploy the program without it first",
            });
        }
        tracing::info!(target: TARGET, projection = key.route(), "a projection is forgotten");
        Ok(())
    }

    async fn go_on(
        &self,
        key: &ProjectionKey,
        skip: Option<(EventId, &str, Option<&str>)>,
    ) -> Result<(), ProjectionError> {
        let tables = self.store.tables();
        let dialect = self.store.dialect()?;
        let skips = if skip.is_some() { ", skips = TRUE" } else { "" };
        let end = format!(
            "UPDATE {{projection}} SET stopped_at = NULL, failures = 0, failed_event = NULL, \
             reason = NULL{skips} WHERE name = ? AND version = ?"
        );
        let of_key = Vec::from(binds![&*key.name, key.number()]);
        let insert = format!(
            "INSERT INTO {{projection_skip}} (projection, version, event_id, reason, actor, \
             skipped_at) VALUES (?, ?, ?, ?, ?, {{now}}){}",
            dialect.or_leave(
                tables.projection_skip(),
                &["projection", "version", "event_id"]
            )
        );
        let mut statements = Vec::new();
        if let Some((event_id, reason, actor)) = skip {
            let mut binds = of_key.clone();
            binds.extend(binds![
                Uuid::from(event_id),
                reason,
                actor.map(str::to_owned)
            ]);
            statements.push((&*insert, binds));
        }
        statements.push((&*end, of_key));
        self.run(&statements).await?;
        let held = HeldFilter::default().route(key.route());
        for side in self.sides() {
            side.retry_now(&held).await?;
        }
        Ok(())
    }

    /// Runs statements in one transaction.
    async fn run(&self, statements: &[(&str, Vec<Bind>)]) -> Result<(), ProjectionError> {
        let run = || async {
            let (tx, dialect) = self.store.begin().await?;
            for (text, binds) in statements {
                let sql = Sql::new(dialect, self.store.tables(), text, binds.clone());
                tx.execute_raw(sql.build()).await?;
            }
            Ok(tx.commit().await?)
        };
        Ok(retrying(self.store.db().get_database_backend(), run).await?)
    }

    async fn rows(&self) -> Result<Vec<(ProjectionKey, ProjectionRow)>, ProjectionError> {
        let dialect = self.store.dialect()?;
        let rows = record::all(self.store.db(), dialect, self.store.tables()).await;
        Ok(rows.map_err(|error| store_error(dialect.backend(), error))?)
    }

    async fn row(&self, key: &ProjectionKey) -> Result<ProjectionRow, ProjectionError> {
        let mut rows = self.rows().await?;
        match rows.iter().position(|(known, _)| known == key) {
            Some(at) => Ok(rows.swap_remove(at).1),
            None => Err(ProjectionError::Unknown {
                key: key.clone(),
                known: rows.into_iter().map(|(known, _)| known).collect(),
            }),
        }
    }
}

/// The state of a version, with what the relays of both sides say of it.
fn state_of<'a>(
    key: ProjectionKey,
    row: ProjectionRow,
    handlers: impl Iterator<Item = &'a HandlerState>,
) -> ProjectionState {
    let mut state = ProjectionState {
        key,
        status: row.status,
        created_at: row.created_at,
        live_at: row.live_at,
        build: row.build,
        stop: row.stop,
        pause: None,
        held: 0,
        served_by: Vec::new(),
    };
    for handler in handlers {
        state.pause = state.pause.or_else(|| handler.pause.clone());
        state.held += handler.waiting.held;
        state.served_by.extend(&handler.served_by);
    }
    state.served_by.sort();
    state
}

/// The answers of both sides to a command for the route of a version, as one: a side may not have
/// recorded it.
fn of_sides(
    answers: Vec<Result<bool, StoreError>>,
    key: &ProjectionKey,
) -> Result<bool, ProjectionError> {
    let mut changed = None;
    for answer in answers {
        match answer {
            Ok(has) => changed = Some(has || changed.unwrap_or_default()),
            Err(StoreError::UnknownHandler { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    changed.ok_or_else(|| ProjectionError::Unknown {
        key: key.clone(),
        known: Vec::new(),
    })
}
