//! The publisher that calls handlers.
//!
//! A call of a handler with a transaction: begin, record the event, run the handler, commit. The
//! record is the first statement, so that a second process waits for the first and then sees it.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bento_core::EventId;
use bento_relay::publish::{
    Answering, Delivery, Destination, HandlerRoute, PublishError, Publisher, RelayTerms,
    UnfitPublisher,
};
use bento_seaorm::{Error, OutboxConnection, OutboxTransaction, TablePrefix};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::call::{Call, EventContext};
use crate::configured::Configured;
use crate::descriptor::{HandlerDescriptor, Running};
use crate::error::{Class, HandleError};
use crate::key::IdempotencyKey;
use crate::projection::ProjectionDescriptor;
use crate::state::States;
use crate::telemetry::{self, FILTERED, TARGET_HANDLE};

mod batch;
mod limits;
mod portions;
mod projector;
mod pruning;
mod scope;

use self::limits::Limits;
use self::portions::Portions;
use self::projector::Builds;
pub(crate) use self::projector::{Pace, Projected};
use self::pruning::Pruning;

/// The most calls of a handler at once, unless it says otherwise.
const CONCURRENCY: u32 = 8;

/// The publisher that calls the handlers of a process; made by
/// [`Handlers::build`](crate::Handlers::build). Cheap to clone.
///
/// # Cancel safety
/// A call that is dropped is rolled back. If its commit was on its way, the record tells the next
/// attempt whether the event was handled.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    db: OutboxConnection,
    handlers: BTreeMap<&'static str, Configured>,
    projections: BTreeMap<String, Arc<Projected>>,
    builds: Builds,
    states: Arc<States>,
    limits: Limits,
    portions: Portions,
    pruning: Pruning,
}

/// The end of a call that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handled {
    /// The handler has run.
    Now,
    /// The event was handled before.
    Before,
    /// The handler has skipped the event.
    Skipped,
}

impl Handled {
    /// The name in metrics.
    fn as_str(self) -> &'static str {
        match self {
            Self::Now => "handled",
            Self::Before => "repeated",
            Self::Skipped => "skipped",
        }
    }
}

impl Dispatcher {
    pub(crate) fn new(
        db: OutboxConnection,
        handlers: BTreeMap<&'static str, Configured>,
        projections: Vec<Projected>,
        states: Arc<States>,
        retention: Duration,
    ) -> Self {
        let projections = projections.into_iter().map(Arc::new);
        Self {
            shared: Arc::new(Shared {
                db,
                handlers,
                projections: projections.map(|one| (one.key.route(), one)).collect(),
                builds: Builds::default(),
                states,
                limits: Limits::default(),
                portions: Portions::default(),
                pruning: Pruning::new(retention),
            }),
        }
    }

    /// The declarations of the handlers, by name.
    pub fn descriptors(&self) -> impl Iterator<Item = &'static HandlerDescriptor> {
        let handlers = self.shared.handlers.values();
        handlers.map(|handler| handler.descriptor)
    }

    /// The declarations of the projections, by name and version.
    pub fn projections(&self) -> impl Iterator<Item = &'static ProjectionDescriptor> {
        let projections = self.shared.projections.values();
        projections.map(|projected| projected.descriptor)
    }

    /// True if it has no handler and no projection.
    pub(crate) fn is_empty(&self) -> bool {
        self.shared.handlers.is_empty() && self.shared.projections.is_empty()
    }

    /// The prefix of the tables in which it records what was handled.
    pub(crate) fn table_prefix(&self) -> &TablePrefix {
        self.shared.db.table_prefix()
    }

    /// The time for which it is remembered that an event was handled.
    #[must_use]
    pub fn retention(&self) -> Duration {
        self.shared.pruning.retention()
    }

    /// The most calls of a handler at once, by its settings, its declaration and the pool.
    #[must_use]
    pub fn concurrency(&self, handler: &HandlerDescriptor) -> u32 {
        let configured = self.shared.handlers.get(handler.name);
        let said = configured.map_or(handler.concurrency, |configured| configured.concurrency);
        let pool = self.shared.db.pool_size().unwrap_or(1);
        said.unwrap_or(CONCURRENCY).min(pool)
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<(), PublishError> {
        let name = &*delivery.destination.name;
        let Some(configured) = self.shared.handlers.get(name) else {
            return Err(PublishError::unavailable(format!(
                "this process does not run the handler `{name}`"
            )));
        };
        let handler = configured.descriptor;
        if !configured.gets(&delivery.envelope) {
            telemetry::count(handler.name, FILTERED, 1);
            return Ok(());
        }
        let _running = telemetry::Running::begin(handler.name);
        match self.handle(configured, delivery).await {
            Ok(handled) => {
                telemetry::count(handler.name, handled.as_str(), 1);
                Ok(())
            }
            Err(error) => {
                telemetry::count_failure(handler.name, error.class);
                Err(answer(&error))
            }
        }
    }

    async fn handle(
        &self,
        configured: &Configured,
        delivery: &Delivery,
    ) -> Result<Handled, HandleError> {
        let handler = configured.descriptor;
        if handler.effect.is_transactional() {
            self.handle_in_transaction(configured, delivery).await
        } else {
            self.handle_with_key(handler, delivery).await
        }
    }

    async fn handle_in_transaction(
        &self,
        configured: &Configured,
        delivery: &Delivery,
    ) -> Result<Handled, HandleError> {
        let handler = configured.descriptor;
        let event = delivery.envelope.event_id;
        let metadata = scope::metadata_of(&delivery.envelope)?;
        let work = async {
            let tx = self.begin(configured.timeout).await?;
            let recorded = self.in_turn(tx.record_handled(handler.name, event));
            let Some(generation) = recorded.await? else {
                // The session is closed if it cannot roll back; the event is handled nevertheless.
                let _ = tx.rollback().await;
                return Ok(Handled::Before);
            };
            let contexts = vec![context(delivery)];
            let call = self.call(handler.name, contexts, generation, Some(tx));
            let _cancelled_at_the_end = call.cancelled.clone().drop_guard();
            let result = self.run(&call, (handler.run)(&call)).await;
            let tx = call.transaction.expect("it was just put there");
            match result {
                Ok(()) => self.commit(handler, event, tx).await,
                Err(error) if error.class == Class::Skip => {
                    let _ = tx.rollback().await;
                    let db = &self.shared.db;
                    let recorded = db.record_skipped(handler.name, event, generation).await;
                    recorded.map_err(|error| self.failed(error))?;
                    let reason = error.chain();
                    tracing::debug!(
                        target: TARGET_HANDLE, handler = handler.name, %event, reason,
                        "the handler skipped an event",
                    );
                    Ok(Handled::Skipped)
                }
                Err(error) => Err(undone(tx, error).await),
            }
        };
        metadata.scope(work).await
    }

    /// Begins the transaction of a call that may take so long; `None` for the time of the relay.
    async fn begin(&self, timeout: Option<Duration>) -> Result<OutboxTransaction, HandleError> {
        let idle = self.shared.limits.idle(timeout);
        let begun = self.shared.db.begin_handling(idle).await;
        begun.map_err(|error| self.failed(error))
    }

    /// Limits the time for which the record waits for another process that handles the event.
    async fn in_turn<T>(
        &self,
        recording: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, HandleError> {
        match timeout(self.shared.limits.turn(), recording).await {
            Ok(recorded) => recorded.map_err(|error| self.failed(error)),
            Err(_) => {
                let message = "another process is handling the event";
                Err(HandleError::transient(message).not_tried())
            }
        }
    }

    /// Commits. After an unclear answer the record of an event tells whether the commit has
    /// happened.
    async fn commit(
        &self,
        handler: &HandlerDescriptor,
        event: EventId,
        tx: OutboxTransaction,
    ) -> Result<Handled, HandleError> {
        match tx.commit().await {
            Ok(()) => Ok(Handled::Now),
            Err(error @ Error::CommitUnclear { .. }) => {
                let record = self.shared.db.handled_record(handler.name, event).await;
                match record {
                    Ok(record) if record.is_done => Ok(Handled::Now),
                    Ok(_) | Err(_) => Err(HandleError::from(error).not_tried()),
                }
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The error of a statement of the dispatcher's own. It does not count as an attempt if another
    /// transaction was in the way, or no connection was free in time.
    fn failed(&self, error: Error) -> HandleError {
        let is_of_the_event = !self.shared.db.may_succeed_later(&error);
        let error = HandleError::from(error);
        if is_of_the_event {
            error
        } else {
            error.not_tried()
        }
    }

    async fn handle_with_key(
        &self,
        handler: &'static HandlerDescriptor,
        delivery: &Delivery,
    ) -> Result<Handled, HandleError> {
        let (db, event) = (&self.shared.db, delivery.envelope.event_id);
        let record = db.handled_record(handler.name, event).await;
        let record = record.map_err(|error| self.failed(error))?;
        if record.is_done {
            return Ok(Handled::Before);
        }
        let generation = record.generation;
        let metadata = scope::metadata_of(&delivery.envelope)?;
        let call = self.call(handler.name, vec![context(delivery)], generation, None);
        let _cancelled_at_the_end = call.cancelled.clone().drop_guard();
        match metadata.scope(self.run(&call, (handler.run)(&call))).await {
            Ok(()) => {
                let recorded = db.record_handled(handler.name, event, generation).await;
                recorded.map_err(|error| self.failed(error))?;
                Ok(Handled::Now)
            }
            Err(error) if error.class == Class::Skip => {
                let recorded = db.record_skipped(handler.name, event, generation).await;
                recorded.map_err(|error| self.failed(error))?;
                Ok(Handled::Skipped)
            }
            Err(error) => Err(error),
        }
    }

    fn call(
        &self,
        name: &str,
        contexts: Vec<EventContext>,
        generation: u32,
        transaction: Option<OutboxTransaction>,
    ) -> Call {
        Call {
            key: IdempotencyKey::new(name, contexts[0].event_id(), generation),
            contexts,
            transaction,
            states: Arc::clone(&self.shared.states),
            cancelled: CancellationToken::new(),
        }
    }

    /// Runs a handler in the scope of its transaction. A panic becomes an error.
    async fn run(&self, call: &Call, running: Running<'_>) -> Result<(), HandleError> {
        let running = AssertUnwindSafe(running).catch_unwind();
        let result = match &call.transaction {
            Some(tx) => tx.scope(running).await,
            None => running.await,
        };
        result.unwrap_or_else(|panic| {
            let text = text_of(&*panic);
            Err(HandleError::transient(format!(
                "the handler panicked: {text}"
            )))
        })
    }
}

impl Publisher for Dispatcher {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        self.shared.pruning.at_times(&self.shared.db);
        if let Some(projected) = self.projection_of(batch) {
            return self.project(projected, batch).await;
        }
        if let Some(handler) = self.batch_handler(batch) {
            return self.handle_batch(handler, batch).await;
        }
        join_all(batch.iter().map(|delivery| self.deliver(delivery))).await
    }

    /// True for a handler of batches and for a projection: several events of an aggregate are
    /// handled in one transaction.
    fn chains(&self, destination: &Destination) -> bool {
        if self.shared.projections.contains_key(&*destination.name) {
            return true;
        }
        let handler = self.shared.handlers.get(&*destination.name);
        handler.is_some_and(|handler| handler.descriptor.is_batch)
    }

    /// A batch is one call of its handler; every other event has a call of its own.
    fn answering(&self, destination: &Destination) -> Answering {
        match self.shared.handlers.get(&*destination.name) {
            Some(handler) if !handler.descriptor.is_batch => {
                let at_once = self.concurrency(handler.descriptor);
                let at_once = usize::try_from(at_once).unwrap_or(usize::MAX);
                let answering = Answering::one_by_one(at_once);
                match self.shared.limits.of_call(handler, &self.shared.db) {
                    Some(limit) => answering.within(limit),
                    None => answering,
                }
            }
            _ => Answering::Together,
        }
    }

    fn serves(&self, destination: &Destination) -> bool {
        let name = &*destination.name;
        self.shared.handlers.contains_key(name) || self.shared.projections.contains_key(name)
    }

    fn handlers(&self) -> Vec<HandlerRoute> {
        let handlers = self.shared.handlers.values().map(Configured::route);
        let projections = self.shared.projections.values();
        handlers
            .chain(projections.map(|projected| projected.handler_route()))
            .collect()
    }

    /// Takes the terms of a relay that starts, and starts the builds of projections.
    fn prepare(&self, terms: &RelayTerms) -> Result<(), UnfitPublisher> {
        limits::check(terms, self.shared.handlers.values(), &self.shared.db)?;
        self.shared.limits.set(*terms);
        self.shared.builds.start(&self.shared);
        Ok(())
    }
}

fn context(delivery: &Delivery) -> EventContext {
    EventContext::new(Arc::clone(&delivery.envelope), delivery.attempts)
}

/// Rolls back after an error of the handler. One that may not repeat does not count as an attempt
/// if another transaction was in the way; what else the handler says stands.
async fn undone(tx: OutboxTransaction, error: HandleError) -> HandleError {
    let was_contended = tx.was_contended();
    // The session is closed if it cannot roll back.
    let _ = tx.rollback().await;
    if was_contended && error.class == Class::Transient {
        error.not_tried()
    } else {
        error
    }
}

/// The answer to the relay for a failed call.
fn answer(error: &HandleError) -> PublishError {
    let message = error.chain();
    match (error.class, error.wait()) {
        (Class::Permanent, _) => PublishError::permanent(message),
        (Class::Unavailable, None) => PublishError::unavailable(message),
        (Class::NotTried, _) => PublishError::not_tried(message),
        (Class::Newer, _) => PublishError::newer_version(message),
        (Class::Unavailable, Some(wait)) => PublishError::unavailable(message).after(wait),
        (Class::Transient | Class::Skip, None) => PublishError::transient(message),
        (Class::Transient | Class::Skip, Some(wait)) => {
            PublishError::transient(message).after(wait)
        }
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
