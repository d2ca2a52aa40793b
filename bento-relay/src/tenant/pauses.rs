//! Pausing and resuming the delivery of a tenant's events.

use std::future::Future;

use bento_core::limits::{self, Unstorable};
use chrono::{DateTime, Utc};

use crate::store::StoreError;

/// A tenant whose events are not delivered at present.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PausedTenant {
    /// The tenant.
    pub tenant_id: String,
    /// The reason for the pause.
    pub reason: String,
    /// The actor who paused it; `None` if unknown.
    pub actor: Option<String>,
    /// The time of the pause, by the store's clock.
    pub paused_at: DateTime<Utc>,
}

impl PausedTenant {
    /// A paused tenant as a store reads it.
    pub fn new(
        tenant_id: impl Into<String>,
        reason: impl Into<String>,
        actor: Option<String>,
        paused_at: DateTime<Utc>,
    ) -> Self {
        Self {
            tenant_id: tenant_id.into(),
            reason: reason.into(),
            actor,
            paused_at,
        }
    }

    /// Checks that every back end can store the texts of a pause. A store calls it first.
    ///
    /// # Errors
    /// [`Unstorable`], for a tenant of more than [`limits::TENANT_ID`] characters, a reason of more
    /// than [`limits::REASON`], an actor of more than [`limits::ACTOR`], or U+0000.
    pub fn check(tenant_id: &str, reason: &str, actor: Option<&str>) -> Result<(), Unstorable> {
        limits::check_text("tenant_id", tenant_id, limits::TENANT_ID)?;
        limits::check_text("reason", reason, limits::REASON)?;
        actor.map_or(Ok(()), |actor| {
            limits::check_text("actor", actor, limits::ACTOR)
        })
    }
}

/// The paused tenants of a store. Events of a paused tenant are written as usual, and wait.
///
/// A relay learns of a change with its next call for each shard; events that it has already read
/// are still delivered.
///
/// ```
/// use bento_relay::MemoryStore;
/// use bento_relay::tenant::Pauses;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), bento_relay::StoreError> {
/// let store = MemoryStore::default();
/// assert!(store.pause("acme", "their endpoint is being moved", Some("alice")).await?);
/// assert_eq!(store.paused().await?[0].tenant_id, "acme");
/// assert!(store.resume("acme").await?);
/// # Ok(())
/// # }
/// ```
pub trait Pauses: Send + Sync {
    /// Stops the delivery of a tenant's events. Returns false if the tenant is paused already; the
    /// first reason then stays.
    ///
    /// # Errors
    /// [`StoreError::Unstorable`] for a text that is too long or holds U+0000,
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    fn pause(
        &self,
        tenant_id: &str,
        reason: &str,
        actor: Option<&str>,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Resumes the delivery of a tenant's events, in their order. Returns false if the tenant is
    /// not paused.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    fn resume(&self, tenant_id: &str) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Returns the paused tenants, ordered by tenant.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn paused(&self) -> impl Future<Output = Result<Vec<PausedTenant>, StoreError>> + Send;
}
