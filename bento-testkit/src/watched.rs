//! A dispatcher whose calls are watched, and can be cut off between the effect of a handler and the
//! commit.
//!
//! Each handler runs as always, through the dispatcher and its transaction. Only its function is
//! wrapped: the wrapper notes the call, and does not return if the call is to be cut off, so that
//! the call can be dropped where a process would die.

use std::collections::HashMap;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bento_core::Envelope;
use bento_handlers::{
    BuildError, Call, Dispatcher, FromCall, HandleError, HandlerDescriptor, Handlers,
    IdempotencyKey,
};
use bento_relay::RelaySettings;
use bento_relay::publish::{
    Answering, Delivery, Destination, FailureClass, HandlerRoute, PublishError, Publisher,
};
use bento_seaorm::{OutboxConnection, testing};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

/// The longest time for which an event is offered again that was not tried: the transaction of a
/// call that was cut off ends in the background.
const PATIENCE: Duration = Duration::from_secs(10);

/// The time between two such offers.
const PAUSE: Duration = Duration::from_millis(10);

tokio::task_local! {
    /// The call that runs.
    static WATCH: Arc<Watch>;
}

/// The notes of one delivery.
#[derive(Debug)]
struct Watch {
    handler: &'static HandlerDescriptor,
    is_cut_off: bool,
    reached: Notify,
    calls: Mutex<Calls>,
}

/// The calls of a function that one or several deliveries made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    /// The key of each call.
    pub(crate) keys: Vec<IdempotencyKey>,
    /// True if the last call ended with an error.
    pub(crate) has_failed: bool,
}

/// The end of a delivery.
#[derive(Debug)]
pub(crate) enum Delivered {
    /// The function had ended, and nothing was committed or recorded.
    CutOff,
    /// One answer for each event.
    Answered(Vec<Result<(), PublishError>>),
}

/// A dispatcher with its handlers watched.
#[derive(Debug)]
pub(crate) struct Watched {
    dispatcher: Dispatcher,
    db: OutboxConnection,
}

impl Watched {
    /// Builds the dispatcher of these handlers.
    pub(crate) fn build<S>(
        handlers: Handlers<S>,
        db: &OutboxConnection,
    ) -> Result<Self, BuildError> {
        let dispatcher = handlers.replace(wrapped).build(db)?;
        let db = db.clone();
        Ok(Self { dispatcher, db })
    }

    /// The handlers, by name.
    pub(crate) fn handlers(&self) -> impl Iterator<Item = &'static HandlerDescriptor> {
        self.dispatcher.descriptors()
    }

    /// Hands events to a handler, each after `attempts` earlier ones, and cuts the call off behind
    /// the first function that ends well, if it is to be.
    pub(crate) async fn deliver(
        &self,
        handler: &HandlerDescriptor,
        events: &[Arc<Envelope>],
        attempts: u32,
        is_cut_off: bool,
    ) -> (Delivered, Calls) {
        let destination = Destination::new(handler.name).via(HandlerRoute::PUBLISHER);
        let limit = self.limit(&destination);
        let deliveries: Vec<_> = events
            .iter()
            .map(|event| {
                let mut delivery = Delivery::new(Arc::clone(event), destination.clone());
                delivery.attempts = attempts;
                delivery
            })
            .collect();
        let watch = Arc::new(Watch {
            handler: original(handler.name),
            is_cut_off,
            reached: Notify::new(),
            calls: Mutex::default(),
        });
        let publishing = WATCH.scope(Arc::clone(&watch), self.dispatcher.publish(&deliveries));
        let delivered = tokio::select! {
            biased;
            answers = timeout(limit, publishing) => Delivered::Answered(answers.unwrap_or_else(|_| {
                let too_late = format!("the call took longer than {limit:?}");
                events.iter().map(|_| Err(PublishError::transient(too_late.clone()))).collect()
            })),
            () = watch.reached.notified() => Delivered::CutOff,
        };
        let calls = watch.calls().clone();
        (delivered, calls)
    }

    /// Hands events to a handler, again as long as the transaction of an earlier call is in the
    /// way.
    pub(crate) async fn deliver_in_turn(
        &self,
        handler: &HandlerDescriptor,
        events: &[Arc<Envelope>],
        attempts: u32,
        is_cut_off: bool,
    ) -> (Delivered, Calls) {
        let patience = Instant::now() + PATIENCE;
        loop {
            let (delivered, calls) = self.deliver(handler, events, attempts, is_cut_off).await;
            let is_in_the_way = match &delivered {
                Delivered::CutOff => false,
                Delivered::Answered(answers) => answers.iter().all(is_not_tried),
            };
            // A newer version of an event is decoded in the function, and no wait helps.
            if !is_in_the_way || calls.has_failed || Instant::now() >= patience {
                return (delivered, calls);
            }
            sleep(PAUSE).await;
        }
    }

    /// The time for one call, as the relay limits it.
    fn limit(&self, destination: &Destination) -> Duration {
        match self.dispatcher.answering(destination) {
            Answering::OneByOne {
                limit: Some(limit), ..
            } => limit,
            _ => RelaySettings::default().publish_timeout,
        }
    }

    /// The events in the outbox.
    pub(crate) async fn outbox(&self) -> Vec<Envelope> {
        let events = testing::outbox(&self.db).await;
        events.unwrap_or_else(|error| panic!("the outbox cannot be read: {error}"))
    }
}

impl Watch {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_not_tried(answer: &Result<(), PublishError>) -> bool {
    let error = answer.as_ref().err();
    error.is_some_and(|error| error.class() == FailureClass::NotTried)
}

/// The handlers that were wrapped in this process, by name: the declaration, and the same with a
/// function that is watched.
type Wrapped = HashMap<&'static str, (&'static HandlerDescriptor, &'static HandlerDescriptor)>;

static WRAPPED: Mutex<Option<Wrapped>> = Mutex::new(None);

/// The handler with a function that is watched. It lives as long as the process, as declarations
/// do.
fn wrapped(handler: &'static HandlerDescriptor) -> &'static HandlerDescriptor {
    let mut wrapped = WRAPPED.lock().unwrap_or_else(PoisonError::into_inner);
    let wrapped = wrapped.get_or_insert_default();
    let (_, watched) = wrapped.entry(handler.name).or_insert_with(|| {
        let run = run_watched;
        let watched = HandlerDescriptor {
            run,
            ..handler.clone()
        };
        (handler, Box::leak(Box::new(watched)))
    });
    watched
}

fn original(name: &str) -> &'static HandlerDescriptor {
    let wrapped = WRAPPED.lock().unwrap_or_else(PoisonError::into_inner);
    let known = wrapped.as_ref().and_then(|wrapped| wrapped.get(name));
    known
        .expect("a handler of the set was wrapped when it was built")
        .0
}

/// Runs the function of the call that is watched.
fn run_watched<'a>(
    call: &'a Call,
) -> Pin<Box<dyn Future<Output = Result<(), HandleError>> + Send + 'a>> {
    let watch = WATCH.with(Arc::clone);
    Box::pin(async move {
        watch.calls().keys.push(IdempotencyKey::from_call(call));
        watch.calls().has_failed = true;
        let result = (watch.handler.run)(call).await;
        watch.calls().has_failed = result.is_err();
        if result.is_ok() && watch.is_cut_off {
            watch.reached.notify_one();
            return pending().await;
        }
        result
    })
}
