//! The state that the tasks of one relay share.

use std::fmt;
use std::sync::Arc;

use bento_core::integration;
use bento_core::outbox::{ShardId, Sharding};
use tokio::time::Instant;

use super::breaker::Breakers;
use super::clock::StoreClock;
use super::error::{MissingKind, RelayError, RouteNameError, UnknownDestination};
use super::health::Vitals;
use super::roster::Roster;
use super::settings::RelaySettings;
use super::slots::Slots;
use crate::machine::Machine;
use crate::publish::{Destination, Publisher, RelayTerms, UnfitPublisher};
use crate::route::{self, Route, Router};
use crate::store::{RelayId, RelayStore, StoreError};

/// The state that the tasks of one relay share.
pub(super) struct Shared<S, P> {
    pub(super) store: S,
    pub(super) publisher: P,
    pub(super) settings: RelaySettings,
    pub(super) id: RelayId,
    pub(super) router: Router,
    pub(super) seed: u64,
    pub(super) breakers: Arc<Breakers>,
    pub(super) slots: Slots,
    pub(super) roster: Arc<Roster>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) clock: StoreClock,
}

impl<S, P: Publisher> Shared<S, P> {
    /// Checks the names of the handlers, and of the routes: those of [`Router::to`] were not read
    /// from rules.
    pub(super) fn check_names(&self) -> Result<(), RouteNameError> {
        for Route { name, .. } in self.router.routes().map(AsRef::as_ref) {
            if let Some(rule) = route::broken_rule(name) {
                return Err(RouteNameError {
                    name: Arc::clone(name),
                    rule,
                });
            }
        }
        self.roster.check_names(&self.router)
    }

    /// Checks that the publisher serves every destination of the router.
    pub(super) fn check_destinations(&self) -> Result<(), UnknownDestination> {
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

    /// Checks that the rules say which kind of events they take, if this program has both.
    pub(super) fn check_kinds(&self) -> Result<(), MissingKind> {
        integration::any_declared().map_or(Ok(()), |declared| {
            MissingKind::check(&self.router, declared)
        })
    }

    /// Tells the publisher the terms of this relay.
    pub(super) fn prepare_publisher(&self) -> Result<(), UnfitPublisher>
    where
        S: RelayStore,
    {
        let RelaySettings {
            lease,
            publish_timeout,
            ..
        } = self.settings;
        let terms = RelayTerms::new(lease, publish_timeout).with_pool(self.store.pool());
        self.publisher.prepare(&terms)
    }

    /// Checks that the outbox has the lanes that this relay is to serve.
    pub(super) fn check_lanes(&self, sharding: &Sharding) -> Result<(), RelayError> {
        let lanes = sharding.lanes.get();
        let missing = self
            .settings
            .lanes
            .iter()
            .flatten()
            .find(|lane| **lane >= lanes);
        missing.map_or(Ok(()), |&lane| Err(RelayError::NoSuchLane { lane, lanes }))
    }

    /// The destinations and routes whose held rows are not wanted now, and the handlers that this
    /// process does not have.
    pub(super) fn without(&self, now: Instant) -> Vec<Arc<str>> {
        let mut without = self.breakers.without(now, &self.slots.full());
        without.append(&mut self.roster.absent());
        without.sort();
        without.dedup();
        without
    }

    /// A new machine for a shard.
    pub(super) fn machine(&self, shard: ShardId) -> Box<Machine> {
        let seed = self.seed.wrapping_add(u64::from(shard.unsigned_abs()));
        let machine = Machine::new(self.router.clone(), self.settings.retry, seed);
        let machine = machine.unroutable_after(self.settings.unroutable_after);
        Box::new(machine.serving(self.roster.own()))
    }
}

impl<S: RelayStore, P: Publisher> Shared<S, P> {
    /// Opens the store, and records the handlers of this process before the relay claims anything.
    pub(super) async fn open(&self) -> Result<Sharding, StoreError> {
        let sharding = self.store.open().await?;
        if self.publisher.has_only_handlers() && self.store.is_published().await? {
            return Err(StoreError::MissingPublishers);
        }
        let handlers = self.roster.routes();
        if !handlers.is_empty() {
            self.store.record_handlers(handlers).await?;
        }
        Ok(sharding)
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
