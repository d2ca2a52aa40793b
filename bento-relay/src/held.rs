//! Held events in an operator's hands: tried now instead of after their wait.

use std::future::Future;

use bento_core::envelope::Envelope;

use crate::store::StoreError;

/// A choice of held events: all of them, unless it is narrowed.
///
/// ```
/// # use bento_relay::held::HeldFilter;
/// let filter = HeldFilter::default().route("billing").aggregate("order", "A-1");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldFilter {
    /// Only events that are held for this route: the name of their route.
    pub route: Option<String>,
    /// Only events of this tenant.
    pub tenant_id: Option<String>,
    /// Only events of this aggregate, by type and id.
    pub aggregate: Option<(String, String)>,
}

impl HeldFilter {
    /// Narrows it to the events that are held for one route.
    #[must_use]
    pub fn route(self, route: impl Into<String>) -> Self {
        Self {
            route: Some(route.into()),
            ..self
        }
    }

    /// Narrows it to the events of one tenant.
    #[must_use]
    pub fn tenant(self, tenant_id: impl Into<String>) -> Self {
        Self {
            tenant_id: Some(tenant_id.into()),
            ..self
        }
    }

    /// Narrows it to the events of one aggregate.
    #[must_use]
    pub fn aggregate(
        self,
        aggregate_type: impl Into<String>,
        aggregate_id: impl Into<String>,
    ) -> Self {
        Self {
            aggregate: Some((aggregate_type.into(), aggregate_id.into())),
            ..self
        }
    }

    /// Returns true for an event that is held for this route and is one of the chosen ones.
    pub fn matches(&self, route: &str, event: &Envelope) -> bool {
        let aggregate = (&*event.aggregate_type, &*event.aggregate_id);
        self.route.as_ref().is_none_or(|asked| asked == route)
            && self
                .tenant_id
                .as_ref()
                .is_none_or(|asked| event.tenant_id.as_ref() == Some(asked))
            && self
                .aggregate
                .as_ref()
                .is_none_or(|(kind, id)| (&**kind, &**id) == aggregate)
    }
}

/// The held events of a store that wait for their next attempt.
///
/// ```
/// use bento_relay::held::{HeldEvents, HeldFilter};
/// use bento_relay::MemoryStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), bento_relay::StoreError> {
/// let store = MemoryStore::default();
/// let due = store.retry_now(&HeldFilter::default().route("billing")).await?;
/// assert_eq!(due, 0, "nothing is held");
/// # Ok(())
/// # }
/// ```
pub trait HeldEvents: Send + Sync {
    /// Ends the wait of the chosen events: a relay tries them at its next poll. Returns the number
    /// of events whose wait it ended.
    ///
    /// It changes nothing but the time at which they are due. The events of an aggregate keep their
    /// order, and the attempts made so far still count. Events without a wait of their own stay as
    /// they are: those behind an earlier one of their aggregate, those of an aggregate that a dead
    /// letter parks. Events of a paused tenant are due and go on waiting for it to be resumed, and
    /// those for a route whose circuit is open, or that has not answered yet, for that. A relay
    /// puts back an event that is [to be delivered later](bento_core::Metadata::deliver_after); it
    /// is counted all the same.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    fn retry_now(
        &self,
        filter: &HeldFilter,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;
}
