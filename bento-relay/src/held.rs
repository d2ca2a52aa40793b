//! Commands for held events: they are tried now, before their wait is over.

use std::future::Future;

use bento_core::envelope::Envelope;

use crate::store::StoreError;

/// A filter for held events: all of them by default.
///
/// ```
/// # use bento_relay::held::HeldFilter;
/// let filter = HeldFilter::default().route("billing").aggregate("order", "A-1");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldFilter {
    /// The route for which the events are held; any if `None`.
    pub route: Option<String>,
    /// The tenant; any if `None`.
    pub tenant_id: Option<String>,
    /// The aggregate, by type and id; any if `None`.
    pub aggregate: Option<(String, String)>,
}

impl HeldFilter {
    /// Keeps only the events that are held for this route.
    #[must_use]
    pub fn route(self, route: impl Into<String>) -> Self {
        Self {
            route: Some(route.into()),
            ..self
        }
    }

    /// Keeps only the events of this tenant.
    #[must_use]
    pub fn tenant(self, tenant_id: impl Into<String>) -> Self {
        Self {
            tenant_id: Some(tenant_id.into()),
            ..self
        }
    }

    /// Keeps only the events of this aggregate.
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

    /// True if the filter matches an event that is held for this route.
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
    /// Ends the wait of the matching events: a relay tries them at its next poll. Returns the
    /// number of events whose wait was ended.
    ///
    /// Only the time at which they are due changes. The events of an aggregate keep their order,
    /// and earlier attempts still count. Events without a wait of their own stay as they are: those
    /// behind an earlier event of their aggregate, and those of a parked aggregate. Events of a
    /// paused tenant are due and wait for its resumption; events for a route whose circuit is open,
    /// or whose answer is late, wait for that. A relay puts an event with a [later delivery
    /// time](bento_core::Metadata::deliver_after) back; such an event is counted as well.
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
