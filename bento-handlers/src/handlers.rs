//! The set of handlers of a process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bento_seaorm::OutboxConnection;

use crate::descriptor::{HandlerDescriptor, HandlerRegistration};
use crate::dispatcher::Dispatcher;
use crate::error::{BuildError, BuildFault};
use crate::state::{Provided, States};

/// A handler that can be added to [`Handlers`] with the state `S`: what `name::handler()` returns
/// for `#[event_handler] async fn name`.
#[derive(Debug)]
pub struct Handler<S> {
    pub(crate) descriptor: &'static HandlerDescriptor,
    pub(crate) provide: fn(&S, &mut Provided),
}

impl<S> Handler<S> {
    /// Not public API: called by the macro.
    #[doc(hidden)]
    #[must_use]
    pub fn new(descriptor: &'static HandlerDescriptor, provide: fn(&S, &mut Provided)) -> Self {
        Self {
            descriptor,
            provide,
        }
    }

    /// The declaration of the handler.
    #[must_use]
    pub fn descriptor(&self) -> &'static HandlerDescriptor {
        self.descriptor
    }
}

/// The handlers of a process, with their state.
///
/// [`registered`](Self::registered) takes every handler of the binary, and [`build`](Self::build)
/// checks that each has its state. [`new`](Self::new) takes those that are added, and the compiler
/// checks their state.
///
/// ```
/// use bento_handlers::Handlers;
/// # #[derive(Clone)] struct Stock;
/// # fn build(db: &bento_seaorm::OutboxConnection) -> Result<(), bento_handlers::BuildError> {
/// let dispatcher = Handlers::registered().state(Stock).build(db)?;
/// # let _ = dispatcher; Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "call `build`"]
pub struct Handlers<S = ()> {
    state: S,
    handlers: Vec<&'static HandlerDescriptor>,
    provided: Provided,
    retention: Duration,
}

/// The time for which it is remembered that an event was handled, unless told otherwise.
const RETENTION: Duration = Duration::from_secs(7 * 86_400);

impl Handlers {
    /// Every handler that is linked into the binary.
    pub fn registered() -> Self {
        let registered = inventory::iter::<HandlerRegistration>().map(|handler| handler.0);
        Self {
            handlers: registered.collect(),
            ..Self::new(())
        }
    }
}

impl<S> Handlers<S> {
    /// A set without handlers, for an application with this state.
    pub fn new(state: S) -> Self {
        Self {
            state,
            handlers: Vec::new(),
            provided: Provided::default(),
            retention: RETENTION,
        }
    }

    /// Adds a handler, whose states are parts of the state of the application.
    #[expect(
        clippy::should_implement_trait,
        reason = "a set of handlers is not a sum, and `add` is the word for it"
    )]
    pub fn add(mut self, handler: Handler<S>) -> Self {
        (handler.provide)(&self.state, &mut self.provided);
        self.handlers.push(handler.descriptor);
        self
    }

    /// Adds a value that handlers take as `State<T>`; an earlier one of its type is replaced.
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, state: T) -> Self {
        self.provided.0.insert(state);
        self
    }

    /// Sets the time for which it is remembered that an event was handled; 7 days by default. An
    /// event that is still in the outbox, held or a dead letter is remembered for longer.
    pub fn retention(self, retention: Duration) -> Self {
        Self { retention, ..self }
    }

    /// Leaves out the handlers for which `keep` is false: another process runs them.
    pub fn retain(mut self, mut keep: impl FnMut(&HandlerDescriptor) -> bool) -> Self {
        self.handlers.retain(|handler| keep(handler));
        self
    }

    /// Builds the publisher that calls the handlers. `db` is the connection for their transactions,
    /// with a pool of its own: a handler that waits for a connection which the relay holds would
    /// stop both.
    ///
    /// # Errors
    /// [`BuildError`] with every fault: a state is missing, two handlers have one name, a handler
    /// runs more calls at once than the pool has connections.
    pub fn build(self, db: &OutboxConnection) -> Result<Dispatcher, BuildError> {
        let Self {
            handlers,
            provided: Provided(states),
            retention,
            ..
        } = self;
        let mut faults = Vec::new();
        let mut named: BTreeMap<&'static str, &'static HandlerDescriptor> = BTreeMap::new();
        for handler in handlers {
            missing_states(handler, &states, &mut faults);
            if let Some(other) = named.insert(handler.name, handler)
                && !std::ptr::eq(other, handler)
            {
                faults.push(BuildFault::SameName {
                    handler: handler.name,
                    first: other.declared.to_string(),
                    second: handler.declared.to_string(),
                });
            }
        }
        let pool = db.pool_size();
        for handler in named.values() {
            match (handler.concurrency, pool) {
                (Some(concurrency), Some(pool)) if concurrency > pool => {
                    faults.push(BuildFault::PoolTooSmall {
                        handler: handler.name,
                        concurrency,
                        pool,
                    });
                }
                _ => {}
            }
        }
        BuildError::check(faults)?;
        let states = Arc::new(states);
        Ok(Dispatcher::new(db.clone(), named, states, retention))
    }
}

fn missing_states(handler: &HandlerDescriptor, states: &States, faults: &mut Vec<BuildFault>) {
    let required = handler.states.iter().filter_map(|required| required());
    let missing = required.filter(|required| !states.has(required));
    faults.extend(missing.map(|required| BuildFault::MissingState {
        handler: handler.name,
        state: required.name,
    }));
}
