//! The set of handlers of a process.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bento_core::Registry;
use bento_core::event::{AggregateDescriptor, EventDescriptor};
use bento_relay::route::covers;
use bento_seaorm::{OutboxConnection, ProjectionKey};

use crate::configured::Configured;
use crate::descriptor::{HandlerDescriptor, HandlerRegistration};
use crate::dispatcher::{Dispatcher, Pace, Projected};
use crate::error::{BuildError, BuildFault};
use crate::projection::{Projection, ProjectionDescriptor, ProjectionRegistration};
use crate::projection_settings::ProjectionSettings;
use crate::settings::HandlerSettings;
use crate::state::{Provided, States};
use crate::telemetry::TARGET_HANDLE;

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
    /// Those that another process runs.
    left_out: Vec<&'static str>,
    projections: Vec<(&'static ProjectionDescriptor, Option<AnyProjection>)>,
    /// The names of those that another process runs.
    projections_left_out: Vec<&'static str>,
    settings: BTreeMap<String, HandlerSettings>,
    projection_settings: BTreeMap<String, ProjectionSettings>,
    provided: Provided,
    retention: Duration,
}

/// A projection, whose type its descriptor knows.
type AnyProjection = Arc<dyn Any + Send + Sync>;

/// The time for which it is remembered that an event was handled, unless told otherwise.
const RETENTION: Duration = Duration::from_secs(7 * 86_400);

impl Handlers {
    /// Every handler that is linked into the binary.
    pub fn registered() -> Self {
        let registered = inventory::iter::<HandlerRegistration>().map(|handler| handler.0);
        Self {
            handlers: registered.collect(),
            projections: inventory::iter::<ProjectionRegistration>()
                .map(|one| (one.descriptor, one.unit.map(|unit| unit())))
                .collect(),
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
            left_out: Vec::new(),
            projections: Vec::new(),
            projections_left_out: Vec::new(),
            settings: BTreeMap::new(),
            projection_settings: BTreeMap::new(),
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

    /// Adds a projection. One that [`registered`](Self::registered) has found is replaced; one with
    /// fields has to be added.
    pub fn projection<P: Projection>(mut self, projection: P) -> Self {
        let descriptor = P::DESCRIPTOR;
        self.projections
            .retain(|(other, _)| other.route() != descriptor.route());
        self.projections
            .push((descriptor, Some(Arc::new(projection))));
        self
    }

    /// Leaves out the projections for which `keep` is false: another process runs them.
    pub fn retain_projections(
        mut self,
        mut keep: impl FnMut(&ProjectionDescriptor) -> bool,
    ) -> Self {
        let (kept, others): (Vec<_>, Vec<_>) = self
            .projections
            .into_iter()
            .partition(|(descriptor, _)| keep(descriptor));
        self.projections = kept;
        self.projections_left_out
            .extend(others.iter().map(|(descriptor, _)| descriptor.name));
        self
    }

    /// Configures every version of the projection of this name. Settings of a projection that is
    /// [left out](Self::retain_projections) are passed over.
    ///
    /// ```
    /// use bento_handlers::{Handlers, ProjectionSettings};
    ///
    /// let gently = ProjectionSettings::default().throttle(1_000);
    /// let handlers = Handlers::registered().configure_projection("balances", gently);
    /// # let _ = handlers;
    /// ```
    pub fn configure_projection(
        mut self,
        name: impl Into<String>,
        settings: ProjectionSettings,
    ) -> Self {
        self.projection_settings.insert(name.into(), settings);
        self
    }

    /// Configures projections by their names: with what `bento::Settings` has read from a file and
    /// the environment.
    pub fn projection_settings(self, settings: &BTreeMap<String, ProjectionSettings>) -> Self {
        settings.iter().fold(self, |handlers, (name, settings)| {
            handlers.configure_projection(name, settings.clone())
        })
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
        let (kept, others): (Vec<_>, Vec<_>) =
            self.handlers.into_iter().partition(|handler| keep(handler));
        self.handlers = kept;
        self.left_out
            .extend(others.iter().map(|handler| handler.name));
        self
    }

    /// Configures the handler of this name: what is set goes before its attribute, and before what
    /// an earlier call has set. Settings of a handler that is [left out](Self::retain) are passed
    /// over.
    ///
    /// ```
    /// use bento_handlers::{HandlerSettings, Handlers};
    /// use bento_relay::route::field;
    ///
    /// # fn build(db: &bento_seaorm::OutboxConnection) -> Result<(), bento_handlers::BuildError> {
    /// let large = HandlerSettings::default().when(field("payload.total").gte(1000));
    /// let dispatcher = Handlers::registered().configure("fraud.check", large).build(db)?;
    /// # let _ = dispatcher; Ok(()) }
    /// ```
    pub fn configure(mut self, name: impl Into<String>, settings: HandlerSettings) -> Self {
        let configured = self.settings.entry(name.into()).or_default();
        *configured = std::mem::take(configured).overridden_by(settings);
        self
    }

    /// Configures handlers by their names, as [`configure`](Self::configure) does: with what
    /// `bento::Settings` has read from a file and the environment.
    pub fn settings(self, settings: &BTreeMap<String, HandlerSettings>) -> Self {
        settings.iter().fold(self, |handlers, (name, settings)| {
            handlers.configure(name, settings.clone())
        })
    }

    /// Puts another declaration in the place of each. Not public API: the testkit watches calls.
    #[doc(hidden)]
    pub fn replace(
        mut self,
        other: impl Fn(&'static HandlerDescriptor) -> &'static HandlerDescriptor,
    ) -> Self {
        for handler in &mut self.handlers {
            *handler = other(handler);
        }
        self
    }

    /// Builds the publisher that calls the handlers. `db` is the connection for their transactions,
    /// with a pool of its own: a handler that waits for a connection which the relay holds would
    /// stop both.
    ///
    /// # Errors
    /// [`BuildError`] with every fault: a state is missing, two handlers have one name, a handler
    /// runs more calls at once than the pool has connections, settings that break a rule or are for
    /// no handler of the program.
    pub fn build(self, db: &OutboxConnection) -> Result<Dispatcher, BuildError> {
        let Self {
            handlers,
            left_out,
            projections,
            projections_left_out,
            settings,
            projection_settings,
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
        unknown_handlers(&settings, &named, left_out, &mut faults);
        let configured = configured(named, &settings, &mut faults);
        let pool = db.pool_size();
        for (name, handler) in &configured {
            match (handler.concurrency, pool) {
                (Some(concurrency), Some(pool)) if concurrency > pool => {
                    faults.push(BuildFault::PoolTooSmall {
                        handler: name,
                        concurrency,
                        pool,
                    });
                }
                _ => {}
            }
        }
        unknown_projections(
            &projection_settings,
            &projections,
            projections_left_out,
            &mut faults,
        );
        let projected = projected(projections, projection_settings, &mut faults);
        BuildError::check(faults)?;
        if configured.is_empty() && projected.is_empty() {
            tracing::warn!(
                target: TARGET_HANDLE,
                "the set has no handlers: a crate that the program names nowhere is not linked; \
                 name it, as in `use stock as _;`",
            );
        }
        let states = Arc::new(states);
        Ok(Dispatcher::new(
            db.clone(),
            configured,
            projected,
            states,
            retention,
        ))
    }
}

/// Adds a fault for the settings of each handler that the program does not have.
fn unknown_handlers(
    settings: &BTreeMap<String, HandlerSettings>,
    named: &BTreeMap<&'static str, &'static HandlerDescriptor>,
    left_out: Vec<&'static str>,
    faults: &mut Vec<BuildFault>,
) {
    let registered = inventory::iter::<HandlerRegistration>().map(|handler| handler.0.name);
    let all = registered.chain(named.keys().copied()).chain(left_out);
    let known: BTreeSet<&str> = all.collect();
    let unknown = settings
        .keys()
        .filter(|name| !known.contains(name.as_str()));
    faults.extend(unknown.map(|name| BuildFault::UnknownHandler {
        handler: name.clone(),
        known: known.iter().map(|name| (*name).to_owned()).collect(),
    }));
}

/// Adds a fault for the settings of each projection that the program does not have.
fn unknown_projections(
    settings: &BTreeMap<String, ProjectionSettings>,
    projections: &[(&'static ProjectionDescriptor, Option<AnyProjection>)],
    left_out: Vec<&'static str>,
    faults: &mut Vec<BuildFault>,
) {
    let all = projections.iter().map(|(one, _)| one.name).chain(left_out);
    let known: BTreeSet<&str> = all.collect();
    for name in settings.keys().filter(|name| !known.contains(&***name)) {
        faults.push(BuildFault::UnknownProjection {
            projection: name.clone(),
            known: known.iter().map(|name| (*name).to_owned()).collect(),
        });
    }
}

/// The projections with their values and settings.
fn projected(
    projections: Vec<(&'static ProjectionDescriptor, Option<AnyProjection>)>,
    settings: BTreeMap<String, ProjectionSettings>,
    faults: &mut Vec<BuildFault>,
) -> Vec<Projected> {
    let known: BTreeSet<&str> = projections.iter().map(|(one, _)| one.name).collect();
    for (name, settings) in &settings {
        let Some(projection) = known.get(&**name).copied() else {
            continue;
        };
        let of_projection = settings.faults().into_iter();
        faults
            .extend(of_projection.map(|fault| BuildFault::ProjectionSetting { projection, fault }));
    }
    let mut all = Vec::with_capacity(projections.len());
    for (descriptor, projection) in projections {
        without_sequence(descriptor, faults);
        same_number(descriptor, faults);
        let Some(projection) = projection else {
            faults.push(BuildFault::MissingProjection {
                projection: descriptor.route(),
                declared: descriptor.declared.to_string(),
            });
            continue;
        };
        all.push(Projected {
            descriptor,
            key: ProjectionKey::new(descriptor.name, descriptor.version),
            settings: settings.get(descriptor.name).cloned().unwrap_or_default(),
            projection,
            pace: Pace::default(),
        });
    }
    all
}

/// Adds a fault for an event that a projection takes and whose aggregates do not number it.
fn without_sequence(projection: &ProjectionDescriptor, faults: &mut Vec<BuildFault>) {
    for event in projection.events {
        let raised_by = |aggregate: &&AggregateDescriptor| {
            aggregate
                .events
                .iter()
                .any(|raised| raised.schema == event.schema)
        };
        let mut aggregates = Registry::global().aggregates().filter(raised_by);
        if let Some(aggregate) = aggregates.find(|aggregate| !aggregate.numbers_events) {
            faults.push(BuildFault::NoSequence {
                projection: projection.name,
                event_type: event.schema,
                aggregate: aggregate.rust_name,
            });
        }
    }
}

/// Adds a fault for two events that a projection takes and that are of one number: an integration
/// event has that of its source.
fn same_number(projection: &'static ProjectionDescriptor, faults: &mut Vec<BuildFault>) {
    let takes = |event: &&EventDescriptor| {
        let mut patterns = projection.takes();
        patterns.any(|pattern| pattern == event.schema || covers(pattern, event.schema))
    };
    let mut taken: BTreeMap<&str, (&'static str, u32)> = BTreeMap::new();
    // Sources come before what is made from them.
    let (made, sources): (Vec<_>, Vec<_>) = Registry::global()
        .events()
        .filter(takes)
        .partition(|event| event.made_from.is_some());
    for event in sources {
        taken.insert(event.schema, (event.schema, event.version));
    }
    for event in made {
        let source = event.made_from.map_or(event.schema, |source| source.schema);
        let second = (event.schema, event.version);
        if let Some(first) = taken.insert(source, second) {
            faults.push(BuildFault::SameNumber {
                projection: projection.name,
                first,
                second,
            });
        }
    }
}

/// The handlers with their settings.
fn configured(
    named: BTreeMap<&'static str, &'static HandlerDescriptor>,
    settings: &BTreeMap<String, HandlerSettings>,
    faults: &mut Vec<BuildFault>,
) -> BTreeMap<&'static str, Configured> {
    let unset = HandlerSettings::default();
    let configure = |(handler, descriptor)| {
        let mut found = Vec::new();
        let settings = settings.get(handler).unwrap_or(&unset);
        let configured = Configured::new(descriptor, settings, &mut found);
        let faults_of = found.into_iter();
        faults.extend(faults_of.map(|fault| BuildFault::Setting { handler, fault }));
        (handler, configured)
    };
    named.into_iter().map(configure).collect()
}

fn missing_states(handler: &HandlerDescriptor, states: &States, faults: &mut Vec<BuildFault>) {
    let required = handler.states.iter().filter_map(|required| required());
    let missing = required.filter(|required| !states.has(required));
    faults.extend(missing.map(|required| BuildFault::MissingState {
        handler: handler.name,
        state: required.name,
    }));
}
