//! From the outbox to the broker.
//!
//! A relay owns shards of the outbox by lease. For each shard that has events it asks the store for
//! a batch, publishes it wave by wave, and settles with the call that returns the next batch:
//!
//! ```text
//! supervisor ── heartbeat, poll ──► store
//!     │ starts up to `workers`
//!     ▼
//!   worker ──── advance ───────────► store      settle what was done, renew the lease, next batch
//!     │    ◄─── rows ───────────────
//!   machine ─── waves ─────────────► publisher  one for each destination, at most one event of an aggregate at a time
//!          ◄─── answers ────────────
//! ```
//!
//! What holds, each a test:
//!
//! 1. Every committed event is published at least once, or is a dead letter.
//! 2. The first publications of one aggregate's events are in position order.
//! 3. After the local deadline of a lease nothing more is sent in its name, and a lost lease
//!    settles nothing.
//! 4. A failing event holds back its own aggregate only, and that for its own destination only.
//! 5. A store that is away is waited for; a call whose outcome is unknown is repeated. Missing
//!    tables are waited for in the same way, with an error line that names the migration: a relay
//!    may start before it.
//! 6. A publisher that panics, hangs or answers too little has failed for the moment, no more; an
//!    event that makes it do so, while others are answered, ends as the only dead letter.
//! 7. A destination that is away is left alone but for a trial now and then; its outage makes no
//!    dead letters of the backlog, and stops no other destination. One that is slow or hangs stops
//!    no other either: after a quarter of a second with nothing else left, a batch ends without its
//!    answer, which a later batch takes.
//! 8. Stopping finishes what is in flight and releases the leases; what takes too long is left to
//!    be published again.
//!
//! 9. Several relays try a failing event no more often than one: the time when it is due is in the
//!    store. A circuit is a relay's own.
//!
//! What is not promised: exactly one publication. When an event can be published twice is listed in
//! the guarantees page of the repository.

use std::fmt;
use std::sync::Arc;

use bento_core::outbox::{ShardId, Sharding};

use self::breaker::Breakers;
use self::clock::StoreClock;
use self::health::Vitals;
use crate::machine::Machine;
use crate::publish::{Destination, Publisher};
use crate::route::{self, Route, Router};

mod breaker;
mod builder;
mod clock;
mod deadline;
mod handle;
mod health;
mod journal;
mod late;
mod pass;
mod send;
mod settings;
mod span;
mod supervisor;
mod wake;
mod watched;
mod worker;

pub use self::builder::{Relay, RelayBuilder, StartError};
pub use self::handle::{RelayHandle, RelayProbe};
pub use self::health::{Degradation, Health};
pub use self::journal::Tally;
pub use self::pass::PassReport;
pub use self::settings::{CircuitSettings, RelaySettings, SettingsError};
pub use self::wake::{Wake, WakeSubscription};
use crate::store::{RelayId, StoreError};

/// A relay ended for what waiting cannot mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// It cannot run by its settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// It cannot reach where it is to route to.
    #[error(transparent)]
    UnknownDestination(#[from] UnknownDestination),
    /// A route has a name under which no event can be recorded.
    #[error(transparent)]
    RouteName(#[from] RouteNameError),
    /// The store refuses it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is to serve a lane that the outbox does not have.
    #[error(
        "the outbox has {lanes} lane(s), counted from 0, so there is no lane {lane} to serve; \
         name others in `lanes`"
    )]
    NoSuchLane {
        /// The lane it is to serve.
        lane: u16,
        /// How many there are.
        lanes: u16,
    },
}

/// A route leads to a destination that the publisher does not serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "route `{route}` leads to destination `{destination}`, which no publisher serves; add a \
     publisher named `{publisher}` to the `Publishers`, or name one of them with `Destination::via`"
)]
#[non_exhaustive]
pub struct UnknownDestination {
    /// The name of the route.
    pub route: Arc<str>,
    /// The name of the destination.
    pub destination: Arc<str>,
    /// The name of the publisher that would serve it.
    pub publisher: String,
}

/// A route has a name under which no event can be recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no route can be named `{name}`: {rule}")]
#[non_exhaustive]
pub struct RouteNameError {
    /// The name.
    pub name: Arc<str>,
    /// The rule that it breaks, and the way out.
    pub rule: String,
}

/// What the tasks of one relay share.
struct Shared<S, P> {
    store: S,
    publisher: P,
    settings: RelaySettings,
    id: RelayId,
    router: Router,
    seed: u64,
    breakers: Arc<Breakers>,
    vitals: Arc<Vitals>,
    clock: StoreClock,
}

impl<S, P: Publisher> Shared<S, P> {
    /// Checks the names of the routes: those of [`Router::to`] were not read from rules.
    fn check_names(&self) -> Result<(), RouteNameError> {
        for Route { name, .. } in self.router.routes().map(AsRef::as_ref) {
            if let Some(rule) = route::broken_rule(name) {
                return Err(RouteNameError {
                    name: Arc::clone(name),
                    rule,
                });
            }
        }
        Ok(())
    }

    /// Whether the publisher serves every destination that the router names.
    fn check_destinations(&self) -> Result<(), UnknownDestination> {
        for route in self.router.routes() {
            let is_unserved = |destination: &&Destination| !self.publisher.serves(destination);
            if let Some(destination) = route.destinations.iter().find(is_unserved) {
                return Err(UnknownDestination {
                    route: Arc::clone(&route.name),
                    destination: Arc::clone(&destination.name),
                    publisher: destination.publisher().to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Whether the outbox has the lanes that this relay is to serve.
    fn check_lanes(&self, sharding: &Sharding) -> Result<(), RelayError> {
        let lanes = sharding.lanes.get();
        let missing = self
            .settings
            .lanes
            .iter()
            .flatten()
            .find(|lane| **lane >= lanes);
        missing.map_or(Ok(()), |&lane| Err(RelayError::NoSuchLane { lane, lanes }))
    }

    /// A machine for a shard that this relay knows nothing of yet.
    fn machine(&self, shard: ShardId) -> Box<Machine> {
        let seed = self.seed.wrapping_add(u64::from(shard.unsigned_abs()));
        let machine = Machine::new(self.router.clone(), self.settings.retry, seed);
        Box::new(machine.unroutable_after(self.settings.unroutable_after))
    }
}

impl<S, P> fmt::Debug for Shared<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("id", &self.id)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
