//! The event store outside of a transaction.

pub(crate) mod sequencer;

use bento_core::EventSourced;
use bento_core::event_sourced::storage;
use bento_core::saving::SavingError;
use bento_relay::event_store::{Cursor, EventStore, EventStoreError, Moment, Page, Selection};

use sea_orm::DbErr;

use crate::connection::OutboxConnection;
use crate::error::Error;
use crate::events::{load, page};

/// The events of event-sourced aggregates in the database of a connection.
///
/// Inside a transaction use [`OutboxTransaction`](crate::OutboxTransaction), which has `load` and
/// `save` too. Here each call is a transaction of its own.
///
/// ```
/// # use bento_seaorm::{DatabaseEvents, OutboxConnection};
/// # use bento_relay::event_store::EventStoreError;
/// use bento_relay::event_store::{Cursor, EventStore as _, Selection};
/// use futures_util::TryStreamExt as _;
///
/// # async fn example(db: OutboxConnection) -> Result<(), EventStoreError> {
/// let events = DatabaseEvents::new(db);
/// let mut all = std::pin::pin!(events.stream(Selection::All, Cursor::START));
/// while let Some(stored) = all.try_next().await? {
///     println!("{} {}", stored.envelope.event_type, stored.cursor);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DatabaseEvents {
    db: OutboxConnection,
}

impl DatabaseEvents {
    /// The events in the database of a connection, behind its prefix.
    pub fn new(db: OutboxConnection) -> Self {
        Self { db }
    }

    pub(crate) fn db(&self) -> &OutboxConnection {
        &self.db
    }
}

impl DatabaseEvents {
    /// The error of a save. A transaction that the database has given up because another one was in
    /// its way has lost like one that finds another version.
    fn save_error<A: EventSourced>(
        &self,
        aggregate: &A,
        version: Option<i64>,
        error: Error,
    ) -> EventStoreError {
        match error {
            Error::Database(source) | Error::Aborted { source }
                if self.db.is_contention_of(&source) =>
            {
                EventStoreError::Conflict {
                    aggregate_type: A::TYPE,
                    id: aggregate.aggregate_key().into_text().unwrap_or_default(),
                    expected: version.unwrap_or_default(),
                    actual: None,
                    source: Some(Box::new(source)),
                }
            }
            error => error.into(),
        }
    }
}

impl EventStore for DatabaseEvents {
    async fn load<A: EventSourced>(
        &self,
        id: impl Into<A::Id> + Send,
    ) -> Result<Option<A>, EventStoreError> {
        Ok(load::load(&self.db, self.db.tables(), id.into(), None).await?)
    }

    async fn load_at<A: EventSourced>(
        &self,
        id: impl Into<A::Id> + Send,
        moment: Moment,
    ) -> Result<Option<A>, EventStoreError> {
        Ok(load::load(&self.db, self.db.tables(), id.into(), Some(moment)).await?)
    }

    async fn save<A: EventSourced<Storage = storage::Events>>(
        &self,
        aggregate: &mut A,
    ) -> Result<(), EventStoreError> {
        let version = aggregate.version();
        let saved = async {
            let tx = self.db.begin().await?;
            tx.save(aggregate).await?;
            tx.commit().await
        };
        let saved = saved.await;
        saved.map_err(|error| self.save_error(aggregate, version, error))
    }

    async fn page(
        &self,
        of: &Selection,
        after: &Cursor,
        limit: usize,
    ) -> Result<Page, EventStoreError> {
        if !matches!(of, Selection::Aggregate { .. }) {
            sequencer::run(&self.db).await?;
        }
        page::page(&self.db, self.db.tables(), of, after, limit).await
    }
}

impl From<Error> for EventStoreError {
    fn from(error: Error) -> Self {
        let boxed = |source: Box<DbErr>| source as Box<dyn std::error::Error + Send + Sync>;
        match error {
            Error::Conflict {
                aggregate_type,
                id,
                expected,
                actual,
                source,
            } => Self::Conflict {
                aggregate_type,
                id,
                expected,
                actual,
                source: source.map(boxed),
            },
            Error::Stream {
                aggregate_type,
                id,
                fault,
            } => Self::Stream {
                aggregate_type,
                id,
                fault,
            },
            Error::AlreadyStored {
                aggregate_type,
                id,
                event_ids,
                source,
            } => Self::AlreadyStored {
                aggregate_type,
                id,
                event_ids,
                source: Some(boxed(source)),
            },
            Error::NoKey { aggregate_type } => Self::NoKey { aggregate_type },
            Error::Flush(error) => Self::Flush(error),
            Error::Frame(error) => Self::Saving(error.into()),
            Error::VersionTooLarge {
                aggregate_type,
                version,
            } => Self::Saving(SavingError::VersionTooLarge {
                aggregate_type,
                version,
            }),
            other => Self::Database {
                source: Box::new(other),
            },
        }
    }
}
