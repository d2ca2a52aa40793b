//! Handlers: every event goes to those that are recorded and take it, beside its routes. A handler
//! that this process does not serve is a destination that is away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bento_core::envelope::Envelope;
use chrono::{DateTime, Utc};

use super::leg::Leg;
use super::unroutable::LOOK_AGAIN;
use super::{Machine, Missing, Observer, Reason, Routing};
use crate::publish::HandlerRoute;
use crate::retry::RetryPolicies;
use crate::route::{Glob, HeadOfLine, Route, RouteError, Target, Targets};
use crate::store::RecordedHandler;

/// The handlers of this process.
#[derive(Debug, Default)]
pub(crate) struct OwnHandlers(BTreeMap<Arc<str>, Own>);

/// A handler of this process.
#[derive(Debug)]
struct Own {
    takes: Takes,
    retry: Option<RetryPolicies>,
}

/// The event types that a handler takes.
#[derive(Debug, Default)]
struct Takes(Vec<Glob>);

/// The handlers that are recorded, as this process routes to them.
#[derive(Debug, Default)]
pub(super) struct Handlers {
    own: Arc<OwnHandlers>,
    recorded: Vec<Recorded>,
}

/// A handler that is recorded.
#[derive(Debug)]
pub(super) struct Recorded {
    route: Arc<Route>,
    takes: Takes,
    starts_after: i64,
    starts_at: Option<DateTime<Utc>>,
    is_paused: bool,
}

impl OwnHandlers {
    pub(crate) fn new(routes: &[HandlerRoute]) -> Self {
        let own = |route: &HandlerRoute| {
            let (takes, retry) = (Takes::new(&route.takes), route.retry);
            (Arc::clone(&route.name), Own { takes, retry })
        };
        Self(routes.iter().map(own).collect())
    }

    /// True if this process has the handler.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// True if a handler of this process takes an event type that it names, not by a pattern alone.
    fn name_event_type(&self, name: &str, event_type: &str) -> bool {
        let own = self.0.get(name);
        own.is_some_and(|own| own.takes.name(event_type))
    }

    fn take(&self, name: &str, event_type: &str) -> bool {
        let own = self.0.get(name);
        own.is_some_and(|own| own.takes.matches(event_type))
    }

    /// The retry policies of a handler of this process, if it has some of its own.
    fn retry(&self, name: &str) -> Option<RetryPolicies> {
        self.0.get(name)?.retry
    }
}

impl Takes {
    fn new(patterns: &[Arc<str>]) -> Self {
        Self(patterns.iter().map(|pattern| Glob::new(pattern)).collect())
    }

    fn matches(&self, event_type: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(event_type))
    }

    fn name(&self, event_type: &str) -> bool {
        let mut patterns = self.0.iter();
        patterns.any(|pattern| pattern.is_exact() && pattern.matches(event_type))
    }
}

impl Recorded {
    fn new(handler: RecordedHandler, own: &OwnHandlers) -> Self {
        let route = Route {
            retry: own.retry(&handler.name),
            head_of_line: if handler.ordered {
                HeadOfLine::Hold
            } else {
                HeadOfLine::Continue
            },
            ..Route::to(HandlerRoute::destination_of(&handler.name))
        };
        Self {
            route: Arc::new(route),
            takes: Takes::new(&handler.takes),
            starts_after: handler.starts_after,
            starts_at: handler.starts_at,
            is_paused: handler.is_paused,
        }
    }

    fn takes(&self, position: i64, envelope: &Envelope) -> bool {
        let is_late = self.starts_at.is_none_or(|at| at <= envelope.occurred_at);
        self.starts_after < position && is_late && self.takes.matches(&envelope.event_type)
    }
}

impl Handlers {
    pub(super) fn set_own(&mut self, own: Arc<OwnHandlers>) {
        self.own = own;
    }

    pub(super) fn record(&mut self, recorded: Vec<RecordedHandler>) {
        let recorded = recorded.into_iter();
        let recorded = recorded.map(|handler| Recorded::new(handler, &self.own));
        self.recorded = recorded.collect();
    }

    pub(super) fn named(&self, name: &str) -> Option<&Recorded> {
        let mut recorded = self.recorded.iter();
        recorded.find(|handler| *handler.route.name == *name)
    }

    /// True if this process knows the event type by a handler of its own, which is recorded.
    pub(super) fn know(&self, position: i64, envelope: &Envelope) -> bool {
        let is_known = |handler: &Recorded| {
            let name = &handler.route.name;
            handler.takes(position, envelope)
                && self.own.name_event_type(name, &envelope.event_type)
        };
        self.recorded.iter().any(is_known)
    }

    /// Adds the handlers that take an event, unless a rule sends it to one already.
    pub(super) fn extend(
        &self,
        targets: &mut Targets,
        position: i64,
        envelope: &Arc<Envelope>,
    ) -> Result<(), RouteError> {
        for handler in &self.recorded {
            let name = &handler.route.name;
            if handler.takes(position, envelope)
                && targets.iter().all(|target| target.route.name != *name)
            {
                targets.push(Target::of_event(&handler.route, envelope)?);
            }
        }
        Ok(())
    }

    /// The handler of a route that leads to it because it is recorded.
    fn of(&self, route: &Arc<Route>) -> Option<&Recorded> {
        let mut recorded = self.recorded.iter();
        recorded.find(|handler| Arc::ptr_eq(&handler.route, route))
    }

    /// The handler among the destinations of a route that an operator has paused.
    pub(super) fn paused(&self, route: &Route) -> Option<&Arc<str>> {
        let mut paused = (self.recorded.iter()).filter(|handler| handler.is_paused);
        let leads_to = |handler: &&Recorded| {
            let mut handlers = (route.destinations.iter())
                .filter(|destination| destination.publisher() == HandlerRoute::PUBLISHER);
            handlers.any(|destination| destination.name == handler.route.name)
        };
        paused.find(leads_to).map(|handler| &handler.route.name)
    }

    /// True if the route leads to a handler, and this process does not handle such an event.
    pub(super) fn are_away(&self, route: &Arc<Route>, event_type: &str) -> bool {
        self.of(route)
            .is_some_and(|handler| !self.own.take(&handler.route.name, event_type))
    }
}

impl<R: Routing> Machine<R> {
    /// Sets the handlers of this process; without them it serves none of those that are recorded.
    #[must_use]
    pub(crate) fn serving(mut self, own: Arc<OwnHandlers>) -> Self {
        self.handlers.set_own(own);
        self
    }

    /// Returns the target of an event under a name that it had before, or names itself.
    pub(super) fn resume(
        &self,
        envelope: &Arc<Envelope>,
        name: &str,
    ) -> Result<Target, RouteError> {
        match self.handlers.named(name) {
            Some(handler) if self.router.named(name).is_none() => {
                Target::of_event(&handler.route, envelope)
            }
            _ => self.router.resume(envelope, name),
        }
    }

    /// Holds an event for a handler that is paused, untried.
    pub(super) fn wait_for_resumption(
        &mut self,
        leg: Leg,
        handler: &Arc<str>,
        observer: &mut impl Observer,
    ) {
        // Held rows of a paused handler are not returned; one under another name may be.
        if leg.is_held_row() {
            let error = format!("handler `{handler}` is paused");
            return self.wait_longer(leg, LOOK_AGAIN, error);
        }
        self.add_held(leg, Reason::Paused, observer);
    }

    /// Holds an event for a handler that this process does not serve, untried and without an end.
    pub(super) fn wait_for_handler(
        &mut self,
        leg: Leg,
        unroutable_for: Option<Duration>,
        observer: &mut impl Observer,
    ) {
        let event_type = &leg.envelope.event_type;
        let is_taken = (self.handlers.named(&leg.name))
            .is_some_and(|handler| handler.takes.matches(event_type));
        // Held rows of a handler that this process does not have are not asked for again.
        if !leg.is_held_row() || !self.handlers.own.contains(&leg.name) {
            return self.add_held(leg, Reason::Away, observer);
        }
        let error = format!(
            "handler `{}` of this release takes no `{event_type}`",
            leg.name
        );
        if is_taken {
            return self.wait_longer(leg, LOOK_AGAIN, error);
        }
        let missing = Some(Missing::Destination(leg.name.to_string()));
        self.add_unroutable_or_dead(leg, missing, error, unroutable_for, observer);
    }
}
