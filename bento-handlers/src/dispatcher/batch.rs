//! Handlers that take several events in one transaction.

use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::time::Duration;

use bento_core::metadata::HOPS;
use bento_relay::publish::{Delivery, PublishError};
use tokio::time::timeout;

use super::portions::Patience;
use super::{Dispatcher, answer, context, scope, undone};
use crate::call::EventContext;
use crate::configured::Configured;
use crate::error::{Class, HandleError};
use crate::telemetry::{self, FILTERED, Running};

impl Dispatcher {
    /// The handler of a batch, if it takes batches.
    pub(super) fn batch_handler(&self, batch: &[Delivery]) -> Option<&Configured> {
        let name = &batch.first()?.destination.name;
        let handler = self.shared.handlers.get(&**name);
        handler.filter(|handler| handler.descriptor.is_batch)
    }

    /// Handles a batch in one transaction. One that fails is divided from the left, until the event
    /// that fails is alone; what follows it in its aggregate is not tried. Events that the handler
    /// does not get are done.
    pub(super) async fn handle_batch(
        &self,
        configured: &Configured,
        batch: &[Delivery],
    ) -> Vec<Result<(), PublishError>> {
        let handler = configured.descriptor;
        let mut answers: Vec<Option<Result<(), PublishError>>> =
            batch.iter().map(|_| None).collect();
        let mut failed: HashSet<(&str, &str)> = HashSet::new();
        let gets = |place: &usize| configured.gets(&batch[*place].envelope);
        let (taken, filtered): (Vec<_>, Vec<_>) = (0..batch.len()).partition(gets);
        let hops: Vec<_> = batch
            .iter()
            .map(|one| scope::hops_of(&one.envelope))
            .collect();
        let portions = &self.shared.portions;
        let parts = taken.chunks(portions.most(handler.name));
        let mut parts: VecDeque<_> = parts.map(<[usize]>::to_vec).collect();
        let own = self.shared.limits.of_call(configured, &self.shared.db);
        let patience = Patience::new(batch, own);
        while let Some(mut part) = parts.pop_front() {
            part.retain(|&place| {
                let of = aggregate(&batch[place]);
                if of.is_some_and(|of| failed.contains(&of)) {
                    answers[place] = Some(Err(behind()));
                } else if let Err(error) = &hops[place] {
                    telemetry::count_failure(handler.name, error.class);
                    failed.extend(of);
                    answers[place] = Some(Err(answer(error)));
                }
                answers[place].is_none()
            });
            let Some(limit) = patience.of_part(parts.is_empty()) else {
                for place in part {
                    failed.extend(aggregate(&batch[place]));
                    answers[place] = Some(Err(too_late()));
                }
                continue;
            };
            let most = part
                .iter()
                .filter_map(|&place| hops[place].as_ref().ok())
                .max();
            let handling = self.handle_part(configured, batch, &part, most.copied());
            let handled = timeout(limit, handling).await.unwrap_or_else(|_| {
                portions.took_too_long(handler.name, part.len());
                Err(unfinished(limit))
            });
            let Err(error) = handled else {
                part.iter().for_each(|&place| answers[place] = Some(Ok(())));
                continue;
            };
            telemetry::count_failure(handler.name, error.class);
            // The reason is not one of the events.
            let is_of_all = matches!(error.class, Class::NotTried | Class::Unavailable);
            if part.len() > 1 && !is_of_all {
                let right = part.split_off(part.len() / 2);
                parts.push_front(right);
                parts.push_front(part);
                continue;
            }
            for place in part {
                failed.extend(aggregate(&batch[place]));
                answers[place] = Some(Err(answer(&error)));
            }
        }
        for place in filtered {
            // Behind a failure it is brought again, and counted then.
            let of = aggregate(&batch[place]).filter(|of| failed.contains(of));
            let has_failed = |earlier: usize| {
                aggregate(&batch[earlier]) == of && matches!(answers[earlier], Some(Err(_)))
            };
            let is_behind = of.is_some() && (0..place).any(has_failed);
            answers[place] = Some(if is_behind { Err(behind()) } else { Ok(()) });
            telemetry::count(handler.name, FILTERED, usize::from(!is_behind));
        }
        if answers.iter().flatten().all(Result::is_ok) {
            portions.went_well(handler.name);
        }
        let answered = answers.into_iter();
        answered
            .map(|answer| answer.expect("each part is answered"))
            .collect()
    }

    /// Handles a part of a batch in one transaction, without the events that are handled already.
    /// `hops` is the number of handlers in the longest chain of its events; `None` for no events.
    async fn handle_part(
        &self,
        configured: &Configured,
        batch: &[Delivery],
        part: &[usize],
        hops: Option<u32>,
    ) -> Result<(), HandleError> {
        let Some(hops) = hops else {
            return Ok(());
        };
        let handler = configured.descriptor;
        let envelopes = part.iter().map(|&place| &*batch[place].envelope);
        let metadata = scope::metadata_of_all(envelopes).with_header(HOPS, hops.to_string());
        let _running = Running::begin(handler.name);
        let work = async {
            let tx = self.begin(configured.timeout).await?;
            let events: Vec<_> = part
                .iter()
                .map(|&place| batch[place].envelope.event_id)
                .collect();
            let recorded = self.in_turn(tx.record_batch_handled(handler.name, &events));
            let new = recorded.await?;
            // An event that is handled again may come beside a delivery that is repeated.
            let mut taken = HashSet::new();
            let is_new = |place: &&usize| {
                let event = batch[**place].envelope.event_id;
                new.contains_key(&event) && taken.insert(event)
            };
            let contexts: Vec<_> = part
                .iter()
                .filter(is_new)
                .map(|&place| context(&batch[place]))
                .collect();
            let Some(event) = contexts.first().map(EventContext::event_id) else {
                // The session is closed if it cannot roll back; the events are handled.
                let _ = tx.rollback().await;
                telemetry::count(handler.name, "repeated", part.len());
                return Ok(());
            };
            telemetry::count(handler.name, "repeated", part.len() - contexts.len());
            let call = self.call(handler.name, contexts, new[&event], Some(tx));
            let _cancelled_at_the_end = call.cancelled.clone().drop_guard();
            let result = self.run(&call, (handler.run)(&call)).await;
            let tx = call.transaction.expect("it was just put there");
            match result {
                Ok(()) => {
                    self.commit(handler, event, tx).await?;
                    telemetry::count(handler.name, "handled", new.len());
                    Ok(())
                }
                // A batch that is skipped as a whole is recorded without its effect.
                Err(error) if error.class == Class::Skip => {
                    let _ = tx.rollback().await;
                    let (db, skipped) = (&self.shared.db, new.len());
                    for (event, generation) in new {
                        let recorded = db.record_skipped(handler.name, event, generation).await;
                        recorded.map_err(|error| self.failed(error))?;
                    }
                    telemetry::count(handler.name, "skipped", skipped);
                    Ok(())
                }
                Err(error) => Err(undone(tx, error).await),
            }
        };
        metadata.scope(work).await
    }
}

/// The answer for an event behind one that failed.
fn behind() -> PublishError {
    PublishError::not_tried("an earlier event of its aggregate failed in the same batch")
}

/// The answer for an event for which no time was left.
fn too_late() -> PublishError {
    PublishError::not_tried("the time for its batch ended before its turn")
}

fn unfinished(limit: Duration) -> HandleError {
    HandleError::transient(format!("the handler did not finish within {limit:?}"))
}

/// Limits the time of a transaction to that of the handler.
pub(super) async fn in_time<T>(
    limit: Option<Duration>,
    handling: impl Future<Output = Result<T, HandleError>>,
) -> Result<T, HandleError> {
    let Some(limit) = limit else {
        return handling.await;
    };
    let handled = timeout(limit, handling).await;
    handled.unwrap_or_else(|_| Err(unfinished(limit)))
}

fn aggregate(delivery: &Delivery) -> Option<(&str, &str)> {
    let envelope = &delivery.envelope;
    let of = (&*envelope.aggregate_type, &*envelope.aggregate_id);
    envelope.is_ordered().then_some(of)
}
