//! Events that a relay brings.

use std::collections::VecDeque;
use std::time::Duration;

use bento_core::EventId;
use bento_relay::publish::{Delivery, PublishError};
use bento_seaorm::{OutboxTransaction, ProjectionRow, Stopped};
use tokio::time::{Instant, timeout, timeout_at};

use super::Projected;
use super::apply::{Applied, Event, Gaps, Missing, merged};
use crate::dispatcher::{Dispatcher, context};
use crate::error::{Class, HandleError};
use crate::telemetry::{self, TARGET_PROJECT};

/// The part of the time of a call that is left for the note of a failure and for the answer.
const FOR_THE_ANSWER: u32 = 10;

/// The longest time of a call, whatever the settings of the relay say.
const A_DAY: Duration = Duration::from_secs(86_400);

/// The end of a part of a batch that has not failed.
enum Part {
    /// Its events are done.
    Done,
    /// Stored events come before these.
    Missing(Missing),
    /// It did not end within its time, and is rolled back.
    TooLong(Duration),
}

impl Dispatcher {
    /// Projects a batch. One that fails is divided, until the event that fails is the first; there
    /// the projection stops, and so every later event waits. Events behind the limit of time are
    /// answered as not tried.
    pub(crate) async fn project(
        &self,
        projected: &Projected,
        batch: &[Delivery],
    ) -> Vec<Result<(), PublishError>> {
        let mut answers: Vec<Result<(), PublishError>> = batch.iter().map(|_| Ok(())).collect();
        let left = batch.iter().filter_map(Delivery::time_left).min();
        let left = left
            .unwrap_or_else(|| self.shared.limits.of_relay())
            .min(A_DAY);
        let answer_by = Instant::now() + left;
        let project_by = answer_by - left / FOR_THE_ANSWER;
        let event = |(place, delivery)| Event {
            context: context(delivery),
            place: Some(place),
            is_checked: false,
        };
        let mut rest: VecDeque<Event> = batch.iter().enumerate().map(event).collect();
        let mut size = projected.pace.size();
        while !rest.is_empty() {
            let part: Vec<_> = rest.drain(..rest.len().min(size)).collect();
            let projecting = self.project_part(projected, &part);
            let error = match timeout_at(project_by, projecting).await {
                Ok(Ok(Part::Done)) => {
                    projected.pace.done(part.len());
                    continue;
                }
                Ok(Ok(Part::Missing(missing))) => {
                    for event in merged(part, missing).into_iter().rev() {
                        rest.push_front(event);
                    }
                    continue;
                }
                Ok(Ok(Part::TooLong(limit))) => {
                    size = projected.pace.too_long(part.len());
                    HandleError::transient(format!("`project` did not end within {limit:?}"))
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    projected.pace.too_long(part.len());
                    HandleError::transient("there was no time left for the event").not_tried()
                }
            };
            if part.len() > 1 && is_of_one_event(&error) {
                size = size.min(part.len() / 2);
                for event in part.into_iter().rev() {
                    rest.push_front(event);
                }
                continue;
            }
            let failed = part[0].context.event_id();
            let noting = self.note_failure(projected, Some(failed), &error);
            // Without an answer the relay would take it for an attempt at the event.
            let note_by = answer_by - left / (2 * FOR_THE_ANSWER);
            if timeout_at(note_by, noting).await.is_err() {
                tracing::warn!(
                    target: TARGET_PROJECT, projection = projected.key.route(), event = %failed,
                    reason = error.chain(),
                    "a projection failed, and this could not be noted in time",
                );
            }
            for event in part.iter().chain(&rest) {
                if let Some(place) = event.place {
                    answers[place] = Err(answer(&error));
                }
            }
            break;
        }
        answers
    }

    /// Projects events in one transaction, when it is the turn of this one.
    async fn project_part(
        &self,
        projected: &Projected,
        part: &[Event],
    ) -> Result<Part, HandleError> {
        let key = &projected.key;
        let tx = self.begin_projecting().await?;
        let row = match self.lock_turn(&tx, key).await {
            Ok(row) => row,
            Err(error) if tx.was_lost() => return Err(error.not_tried()),
            Err(error) => return Err(error),
        };
        let Some(row) = row else {
            tx.rollback().await.map_err(|error| self.own(error))?;
            let db = &self.shared.db;
            let recorded = db.record_projection(key, projected.first_status()).await;
            recorded.map_err(|error| self.own(error))?;
            let message = format!("{key} was not recorded yet");
            return Err(HandleError::transient(message).not_tried());
        };
        if let Some(stop) = row.stop {
            tx.rollback().await.map_err(|error| self.own(error))?;
            let message = format!("{key} has stopped: {}", stop.reason);
            return Err(HandleError::unavailable(message));
        }
        let limit = self.shared.limits.of_projection(&self.shared.db);
        let projecting = self.project_locked(projected, &row, tx, part);
        timeout(limit, projecting)
            .await
            .unwrap_or(Ok(Part::TooLong(limit)))
    }

    /// Projects events in a transaction that has locked the row of the version.
    async fn project_locked(
        &self,
        projected: &Projected,
        row: &ProjectionRow,
        tx: OutboxTransaction,
        part: &[Event],
    ) -> Result<Part, HandleError> {
        let own = |error| self.own(error);
        let key = &projected.key;
        let mut events = part;
        let left;
        if row.status.is_before_live() {
            let ids: Vec<EventId> = part.iter().map(|event| event.context.event_id()).collect();
            let stored = tx.stored_among(&ids).await.map_err(own)?;
            telemetry::count_projected(key, "stored", stored.len());
            let is_left = |event: &&Event| !stored.contains(&event.context.event_id());
            left = part.iter().filter(is_left).cloned().collect::<Vec<_>>();
            events = &left;
        }
        if events.is_empty() {
            // The lock has told: the build reads them later.
            tx.rollback().await.map_err(own)?;
            return Ok(Part::Done);
        }
        let gaps = match row.status.is_before_live() {
            true => Gaps::Left,
            false => Gaps::Read,
        };
        match self.apply(projected, row, tx, events, gaps).await? {
            Applied::Nothing(tx) => {
                tx.rollback().await.map_err(own)?;
                Ok(Part::Done)
            }
            Applied::Missing(missing) => Ok(Part::Missing(missing)),
            Applied::Written(tx) => {
                // After an unclear answer the checkpoints tell the next attempt what has happened.
                tx.commit().await.map_err(own)?;
                Ok(Part::Done)
            }
        }
    }

    /// Notes a failure, and stops the projection if it cannot go on.
    pub(super) async fn note_failure(
        &self,
        projected: &Projected,
        event: Option<EventId>,
        error: &HandleError,
    ) {
        let key = &projected.key;
        if !matches!(error.class, Class::Transient | Class::Permanent) {
            return;
        }
        telemetry::count_failed_projection(key, error.class);
        let (reason, is_final) = (error.chain(), error.class == Class::Permanent);
        let noted = self
            .shared
            .db
            .note_projection_failure(key, event, &reason, is_final)
            .await;
        let event = event.map(tracing::field::display);
        let route = key.route();
        match noted {
            Ok(Some(Stopped { event, reason })) => {
                telemetry::set_stopped(key, true);
                let event = event.map(tracing::field::display);
                tracing::error!(
                    target: TARGET_PROJECT, projection = route, event, reason,
                    "a projection has stopped: mend the reason and retry it, or skip the event",
                );
            }
            Ok(None) => tracing::warn!(
                target: TARGET_PROJECT, projection = route, event, reason,
                "a projection failed, and tries the event again",
            ),
            Err(error) => tracing::warn!(
                target: TARGET_PROJECT, projection = route, event, reason, %error,
                "a projection failed, and this could not be noted",
            ),
        }
    }
}

/// True if the failure may be that of one event among several.
pub(super) fn is_of_one_event(error: &HandleError) -> bool {
    matches!(
        error.class,
        Class::Transient | Class::Permanent | Class::Newer | Class::Skip
    )
}

/// The answer to the relay for events of a projection that cannot go on: they wait, however often
/// they are tried.
fn answer(error: &HandleError) -> PublishError {
    let message = error.chain();
    match error.class {
        Class::NotTried => PublishError::not_tried(message),
        Class::Newer => PublishError::newer_version(message),
        _ => {
            let wait = error.wait().unwrap_or(Duration::ZERO);
            let answer = PublishError::unavailable(message);
            if wait.is_zero() {
                answer
            } else {
                answer.after(wait)
            }
        }
    }
}
