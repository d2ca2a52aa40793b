//! The handlers of this process, and those that are recorded and that it does not have.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::RouteNameError;
use crate::machine::OwnHandlers;
use crate::publish::HandlerRoute;
use crate::route::{Router, broken_rule};
use crate::store::ServedHandler;

/// The handlers of this process, and those that are recorded and that it does not have.
#[derive(Debug)]
pub(super) struct Roster {
    routes: Vec<HandlerRoute>,
    own: Arc<OwnHandlers>,
    recorded: Mutex<Recorded>,
}

/// The names of the recorded handlers.
#[derive(Debug, Default)]
struct Recorded {
    all: Vec<Arc<str>>,
    /// Those that this process does not have.
    absent: Vec<Arc<str>>,
}

impl Roster {
    pub(super) fn new(routes: Vec<HandlerRoute>) -> Self {
        Self {
            own: Arc::new(OwnHandlers::new(&routes)),
            routes,
            recorded: Mutex::default(),
        }
    }

    /// Checks the names of the handlers, which are recorded as those of routes are.
    pub(super) fn check_names(&self, router: &Router) -> Result<(), RouteNameError> {
        for HandlerRoute { name, .. } in &self.routes {
            let is_taken = |route: &crate::route::Route| {
                let mut destinations = route.destinations.iter();
                route.name == *name
                    && destinations.any(|to| to.publisher() != HandlerRoute::PUBLISHER)
            };
            let taken = || {
                let mut routes = router.routes();
                routes.any(|route| is_taken(route)).then(|| {
                    "a route of the rules has this name too: rename the handler or the route"
                        .to_owned()
                })
            };
            if let Some(rule) = broken_rule(name).or_else(taken) {
                let name = Arc::clone(name);
                return Err(RouteNameError { name, rule });
            }
        }
        Ok(())
    }

    /// The routes of the handlers of this process.
    pub(super) fn routes(&self) -> &[HandlerRoute] {
        &self.routes
    }

    pub(super) fn own(&self) -> Arc<OwnHandlers> {
        Arc::clone(&self.own)
    }

    /// The handlers that this process serves, as a heartbeat says it.
    pub(super) fn served(&self) -> Vec<ServedHandler> {
        self.routes.iter().map(ServedHandler::from).collect()
    }

    /// Notes the names of the recorded handlers.
    pub(super) fn learn<'a>(&self, recorded: impl IntoIterator<Item = &'a Arc<str>>) {
        let all: Vec<_> = recorded.into_iter().cloned().collect();
        let absent = all.iter().filter(|name| !self.own.contains(name)).cloned();
        let absent = absent.collect();
        *self.lock() = Recorded { all, absent };
    }

    /// The names of the recorded handlers that this process does not have.
    pub(super) fn absent(&self) -> Vec<Arc<str>> {
        self.lock().absent.clone()
    }

    /// True if a handler of this name is recorded, or belongs to this process.
    pub(super) fn knows(&self, name: &Arc<str>) -> bool {
        self.own.contains(name) || self.lock().all.contains(name)
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
