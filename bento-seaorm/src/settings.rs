//! The settings that a connection hands to each of its transactions.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bento_core::outbox::ShardId;
use bento_relay::Wake;
use bento_relay::tenant::{TenantAction, TenantPolicy, TenantRequest};

use crate::error::Error;
use crate::outbox::OutboxWriter;
use crate::outbox::meta::Expected;
use crate::tables::Tables;

/// The settings that the transactions of one connection share.
#[derive(Debug)]
pub(crate) struct Settings {
    owner: u64,
    pub(crate) writer: OutboxWriter,
    wake: Option<Wake>,
    policy: Option<Box<dyn TenantPolicy>>,
    /// True if a session of the pool may have the idle limit of a handler's transaction.
    limits_idle: AtomicBool,
}

impl Settings {
    pub(crate) fn new(
        tables: Tables,
        expected: Expected,
        wake: Option<Wake>,
        policy: Option<Box<dyn TenantPolicy>>,
    ) -> Self {
        static OWNERS: AtomicU64 = AtomicU64::new(0);
        let owner = OWNERS.fetch_add(1, Ordering::Relaxed);
        Self {
            owner,
            writer: OutboxWriter::new(tables, expected),
            wake,
            policy,
            limits_idle: AtomicBool::new(false),
        }
    }

    /// Notes that a session of the pool gets the idle limit of a handler's transaction, and keeps
    /// it.
    pub(crate) fn note_idle_limit(&self) {
        self.limits_idle.store(true, Ordering::Relaxed);
    }

    /// True if a session of the pool may have the idle limit of a handler's transaction.
    pub(crate) fn limits_idle(&self) -> bool {
        self.limits_idle.load(Ordering::Relaxed)
    }

    /// Asks the tenant policy if the actor of the ambient metadata may write for its tenant.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub(crate) fn ask(&self) -> Result<(), Error> {
        let Some(policy) = &self.policy else {
            return Ok(());
        };
        Ok(policy.ask(TenantRequest::ambient(TenantAction::Write))?)
    }

    /// The number by which this connection recognises its own units of work.
    pub(crate) fn owner(&self) -> u64 {
        self.owner
    }

    /// Tells the relay the shards that have new events.
    pub(crate) fn wake(&self, shards: &[ShardId]) {
        if let Some(wake) = &self.wake {
            wake.wake(shards);
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new(Tables::default(), Expected::default(), None, None)
    }
}
