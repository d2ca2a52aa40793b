//! Event-sourced aggregates out of their stored events.
//!
//! A snapshot is made of the stored events too, not of the aggregate in memory, whose state may
//! have been changed by other means than its events.
//!
//! Decision: docs/decisions/0041-a-snapshot-is-made-of-stored-events.md

use std::sync::Arc;

use bento_core::event_sourced::Snapshots;
use bento_core::report::with_causes;
use bento_core::saving::Saving;
use bento_core::{Aggregate, EventSourced, telemetry};
use bento_relay::event_store::Moment;
use sea_orm::DbErr;

use super::OutboxTransaction;
use crate::error::Error;
use crate::events::{load, snapshot};
use crate::session::Session;
use crate::stream::{Head, StreamId};

impl OutboxTransaction {
    /// Loads an event-sourced aggregate: makes it of its stored events. Returns `None` if it has
    /// none.
    ///
    /// With `snapshots` in `#[aggregate(…)]` it begins at the last state that was kept, read by the
    /// same query as the events behind it. A snapshot that cannot be read, or whose own event is
    /// not stored under its id, is ignored: a second query reads all events, and the next
    /// [`save`](Self::save) replaces it.
    ///
    /// It locks nothing. If another transaction saves the aggregate meanwhile, the
    /// [`save`](Self::save) here is a conflict.
    ///
    /// ```
    /// # use bento_core::{PendingEvents, aggregate, domain_event};
    /// # #[domain_event(schema = "account.credited", version = 1)]
    /// # #[derive(Debug)]
    /// # pub struct AccountCredited { pub cents: i64 }
    /// # #[aggregate(event_sourced, events(AccountCredited))]
    /// # #[derive(Default)]
    /// # pub struct Account {
    /// #     id: String,
    /// #     #[aggregate(version)]
    /// #     version: i64,
    /// #     balance: i64,
    /// #     events: PendingEvents,
    /// # }
    /// # impl Account {
    /// #     fn apply(&mut self, event: &AccountEvent) {
    /// #         match event {
    /// #             AccountEvent::AccountCredited(credited) => self.balance += credited.cents,
    /// #         }
    /// #     }
    /// # }
    /// # async fn example(db: bento_seaorm::OutboxConnection) -> Result<(), bento_seaorm::Error> {
    /// let tx = db.begin().await?;
    /// if let Some(mut account) = tx.load::<Account>("A-1").await? {
    ///     account.raise(AccountCredited { cents: 500 });
    ///     tx.save(&mut account).await?;
    /// }
    /// tx.commit().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Stream`] if the stored events are not what the aggregate can be made of: one is
    /// missing, unknown, of a newer version, or of another aggregate. [`Error::Database`].
    ///
    /// # Cancel safety
    /// Nothing is changed if the future is dropped; the events raised before are doubtful then.
    pub async fn load<A: EventSourced>(&self, id: impl Into<A::Id>) -> Result<Option<A>, Error> {
        load::load(self, self.tables(), id.into(), None).await
    }

    /// Loads an event-sourced aggregate as it was at a moment. Returns `None` if it had no event
    /// then.
    ///
    /// It is for reading: a [`save`](Self::save) of it is a conflict, unless the moment is the
    /// present. A snapshot serves a moment that is a number; for a time every event is read.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    ///
    /// # Cancel safety
    /// As [`load`](Self::load).
    pub async fn load_at<A: EventSourced>(
        &self,
        id: impl Into<A::Id>,
        moment: Moment,
    ) -> Result<Option<A>, Error> {
        load::load(self, self.tables(), id.into(), Some(moment)).await
    }

    pub(super) async fn save_events<A: EventSourced>(
        &self,
        aggregate: &mut A,
    ) -> Result<Option<Head>, Error> {
        let saving = self.unit_of_work().save(self.frame, aggregate)?;
        self.finish_with_events(aggregate, saving).await
    }

    /// Appends the events, if the aggregate is event-sourced, and then ends the save. Returns the
    /// head if events were appended.
    pub(super) async fn finish_with_events<A: Aggregate>(
        &self,
        aggregate: &mut A,
        saving: Saving,
    ) -> Result<Option<Head>, Error> {
        if !A::IS_EVENT_SOURCED || saving.events() == 0 {
            saving.done(aggregate)?;
            return Ok(None);
        }
        let appended = match head_of(aggregate, &saving) {
            Ok(head) => self.physical.append(self.frame, &saving, head).await,
            Err(error) => Err(error),
        };
        match appended {
            Ok((flush, head)) => {
                saving.done(aggregate)?;
                flush.done();
                Ok(Some(head))
            }
            Err(error) => {
                saving.failed();
                Err(error)
            }
        }
    }

    /// Keeps a snapshot if it is time for one. A failure is logged and counted, and leaves the
    /// transaction as it was.
    pub(super) async fn keep_snapshot<A: EventSourced>(
        &self,
        aggregate: &mut A,
        raised: Option<Head>,
    ) {
        let Some((snapshots, head)) = A::SNAPSHOTS.zip(raised) else {
            return;
        };
        let is_asked_for = aggregate.pending_events_mut().take_snapshot_request();
        if !is_asked_for && !snapshots.is_due(head.before, head.after) {
            return;
        }
        let (id, settings) = (
            snapshots.id_of(aggregate),
            Arc::clone(self.physical.settings()),
        );
        let keep = |session: Session| async move {
            let tables = settings.writer.tables();
            let stored = load::load::<A, _>(&*session, tables, id, None).await?;
            let state = state_at(head.after, stored, &snapshots)?;
            snapshot::write(&session, tables, &head, snapshots.fingerprint(), state).await
        };
        let kept = self.physical.attempt(self.frame, keep).await;
        let name = match &kept {
            Ok(()) => telemetry::KEPT_SNAPSHOTS,
            Err(error) => {
                tracing::warn!(
                    target: telemetry::TARGET_EVENTS,
                    aggregate_type = A::TYPE,
                    error = with_causes(error),
                    "no snapshot was kept; the events are stored"
                );
                telemetry::FAILED_SNAPSHOTS
            }
        };
        telemetry::count_by(name, "aggregate_type", A::TYPE, 1);
    }
}

/// The head of the aggregate's stored events before and after a save.
fn head_of<A: Aggregate>(aggregate: &A, saving: &Saving) -> Result<Head, Error> {
    let versions = saving.version_before().zip(saving.version_after());
    let (before, after) = versions.expect("an event-sourced aggregate has a version");
    let key = aggregate.aggregate_key().into_text();
    let stream = StreamId {
        aggregate_type: A::TYPE,
        aggregate_id: key.ok_or(Error::NoKey {
            aggregate_type: A::TYPE,
        })?,
    };
    Ok(Head {
        stream,
        before,
        after,
    })
}

/// The state that is kept as that after the event with this number.
fn state_at<A: EventSourced>(
    sequence: i64,
    stored: Option<A>,
    snapshots: &Snapshots<A>,
) -> Result<Vec<u8>, DbErr> {
    let stored = stored.filter(|stored| stored.version() == Some(sequence));
    let stored = stored.ok_or_else(|| {
        DbErr::Custom("this transaction does not see all events of the aggregate".to_owned())
    })?;
    let state = snapshots.write(&stored);
    state.map_err(|error| DbErr::Json(error.to_string()))
}
