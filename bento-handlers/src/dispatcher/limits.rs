//! The limits of time for a call, on the terms of the relay.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use bento_relay::RelaySettings;
use bento_relay::publish::{RelayTerms, UnfitPublisher};
use bento_seaorm::OutboxConnection;

use crate::configured::Configured;

/// The time beyond that of a call for which its session may be idle.
const MARGIN: Duration = Duration::from_secs(1);

/// The terms of the relay that has started last; of a relay with default settings before.
#[derive(Debug)]
pub(super) struct Limits(RwLock<RelayTerms>);

impl Default for Limits {
    fn default() -> Self {
        let RelaySettings {
            lease,
            publish_timeout,
            ..
        } = RelaySettings::default();
        Self(RwLock::new(RelayTerms::new(lease, publish_timeout)))
    }
}

impl Limits {
    /// Takes the terms of a relay that starts.
    pub(super) fn set(&self, terms: RelayTerms) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = terms;
    }

    fn terms(&self) -> RelayTerms {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The longest wait for another process that handles the same event: it has lost its lease, or
    /// this one has.
    pub(super) fn turn(&self) -> Duration {
        self.terms().lease / 3
    }

    /// The time for one call, where it differs from the relay's.
    pub(super) fn of_call(&self, handler: &Configured, db: &OutboxConnection) -> Option<Duration> {
        let terms = self.terms();
        let unless_told = || {
            let most = blocks_the_store(handler, db).then(|| terms.lease * 2 / 5)?;
            (most < terms.publish_timeout).then_some(most)
        };
        handler.timeout.or_else(unless_told)
    }

    /// The longest time for which the session of a call may be idle that may take so long; `None`
    /// for the time of the relay.
    pub(super) fn idle(&self, timeout: Option<Duration>) -> Duration {
        timeout.unwrap_or(self.terms().publish_timeout) + MARGIN
    }

    /// The time for a page of a projection that is built.
    pub(super) fn of_page(&self, db: &OutboxConnection) -> Duration {
        self.beside_writes(self.terms().publish_timeout, db)
    }

    /// The time for a transaction of a batch of a projection. A call has time for several: for a
    /// batch that takes too long, and for its parts.
    pub(super) fn of_projection(&self, db: &OutboxConnection) -> Duration {
        self.beside_writes(self.terms().publish_timeout / 4, db)
    }

    /// The time that a caller leaves for its batches, if they do not say themselves.
    pub(super) fn of_relay(&self) -> Duration {
        self.terms().publish_timeout
    }

    /// A time that is shorter on SQLite, where nothing else is written meanwhile.
    fn beside_writes(&self, time: Duration, db: &OutboxConnection) -> Duration {
        match db.pool_size() {
            Some(_) => time,
            None => time.min(self.terms().lease * 2 / 5),
        }
    }
}

/// Checks that these handlers can work on the terms of the relay.
///
/// # Errors
/// The pool is that of the relay's store, or a transaction may last too long on SQLite.
pub(super) fn check<'a>(
    terms: &RelayTerms,
    handlers: impl Iterator<Item = &'a Configured>,
    db: &OutboxConnection,
) -> Result<(), UnfitPublisher> {
    if terms.pool.is_some() && terms.pool == db.pool() {
        return Err(UnfitPublisher::new(
            "the handlers have the pool of the relay's store, and a handler that waits for a \
             connection which the relay holds would stop both; hand `Handlers::build` a connection \
             with a pool of its own",
        ));
    }
    for handler in handlers.filter(|handler| blocks_the_store(handler, db)) {
        let Some(timeout) = handler
            .timeout
            .filter(|timeout| *timeout * 2 >= terms.lease)
        else {
            continue;
        };
        return Err(UnfitPublisher::new(format!(
            "`timeout = {timeout:?}` of handler `{}` must be below half of the relay's lease of \
             {:?} on SQLite, where its transaction keeps the lease from being renewed; lower the \
             timeout, or raise `relay.lease`",
            handler.descriptor.name, terms.lease
        )));
    }
    Ok(())
}

/// True if nothing else is written while the handler runs: SQLite has one writer at a time.
fn blocks_the_store(handler: &Configured, db: &OutboxConnection) -> bool {
    handler.descriptor.effect.is_transactional() && db.pool_size().is_none()
}
