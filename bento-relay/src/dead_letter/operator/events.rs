//! Stored events, as an operator sees them.

use std::collections::BTreeSet;

use super::{Operator, OperatorError};
use crate::event_store::{Cursor, EventStore, Page, Selection, StoredEvent};
use crate::tenant::{TenantAction, TenantPolicy};

impl<S: EventStore, P: TenantPolicy> Operator<'_, S, P> {
    /// Reads up to `limit` stored events of an aggregate behind a place, in the order of their
    /// sequence, see [`EventStore::page`].
    ///
    /// They are as they are stored: nothing is decoded, and an event whose type or version this
    /// program does not know is there as well.
    ///
    /// The policy is asked for the tenant of each event of the page. For an empty page it is asked
    /// for the tenant of the first event of the aggregate, and without any event for all tenants:
    /// an actor without that right does not learn that the aggregate is missing.
    ///
    /// ```
    /// # use bento_core::Envelope;
    /// # use bento_relay::MemoryEvents;
    /// # use bento_relay::dead_letter::{Operator, OperatorError};
    /// use bento_relay::event_store::Cursor;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), OperatorError> {
    /// # let events = MemoryEvents::default();
    /// # let mut opened = Envelope::new("account.opened", 1, chrono::Utc::now(), "{}");
    /// # opened.aggregate_type = "account".into();
    /// # opened.aggregate_id = "A-1".into();
    /// # opened.sequence = Some(1);
    /// # events.restore([opened]);
    /// let alice = Operator::new(&events, "alice");
    /// let page = alice.events_of("account", "A-1", &Cursor::START, 50).await?;
    /// for stored in &page.events {
    ///     let event = &stored.envelope;
    ///     println!("{:?} {} {}", event.sequence, event.event_type, event.schema_version);
    ///     println!("{} {}", event.occurred_at, String::from_utf8_lossy(&event.payload));
    /// }
    /// # assert_eq!(page.events.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`OperatorError`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    pub async fn events_of(
        &self,
        aggregate_type: &str,
        aggregate_id: &str,
        after: &Cursor,
        limit: usize,
    ) -> Result<Page, OperatorError> {
        let of = Selection::Aggregate {
            aggregate_type: aggregate_type.to_owned(),
            aggregate_id: aggregate_id.to_owned(),
        };
        let page = self.store.page(&of, after, limit).await?;
        if page.events.is_empty() {
            let first = self.store.page(&of, &Cursor::START, 1).await?;
            self.ask_for_events(&first.events)?;
        } else {
            self.ask_for_events(&page.events)?;
        }
        Ok(page)
    }

    /// Asks the policy for each tenant that has one of these events, and for all without an event.
    fn ask_for_events(&self, events: &[StoredEvent]) -> Result<(), OperatorError> {
        let tenants = events
            .iter()
            .map(|event| event.envelope.tenant_id.as_deref());
        let mut tenants: BTreeSet<_> = tenants.collect();
        if tenants.is_empty() {
            tenants.insert(None);
        }
        for tenant in tenants {
            self.ask(TenantAction::ReadEvents, tenant)?;
        }
        Ok(())
    }
}
