//! Several events that a handler takes in one transaction.

use crate::call::EventContext;

/// Several events of one event type or enum, to be handled in one transaction.
///
/// The events of an aggregate are in their order. If the handler fails, the batch is divided until
/// the event that fails is alone; what follows it in its aggregate is not tried before it.
///
/// ```
/// use bento_handlers::{Batch, HandleError, event_handler};
/// use bento_seaorm::OutboxTransaction;
/// # use bento_core::domain_event;
/// # #[domain_event(schema = "order.confirmed", version = 1)]
/// # #[derive(Debug)]
/// # pub struct OrderConfirmed { pub order_id: u64 }
/// # async fn insert(_: &OutboxTransaction, _: Vec<u64>) -> Result<(), HandleError> { Ok(()) }
///
/// #[event_handler(name = "orders.index")]
/// async fn index(
///     events: Batch<OrderConfirmed>,
///     tx: &OutboxTransaction,
/// ) -> Result<(), HandleError> {
///     let ids = events.iter().map(|event| event.order_id).collect();
///     insert(tx, ids).await
/// }
/// ```
#[derive(Debug)]
pub struct Batch<E> {
    events: Vec<(E, EventContext)>,
}

impl<E> Batch<E> {
    /// A batch of these events.
    #[must_use]
    pub fn new(events: Vec<(E, EventContext)>) -> Self {
        Self { events }
    }

    /// The number of events, at least one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// True if the batch holds no events, which the dispatcher never hands over.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The events, in order.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.events.iter().map(|(event, _)| event)
    }

    /// The events with their contexts, in order.
    pub fn with_context(&self) -> impl Iterator<Item = (&E, &EventContext)> {
        self.events.iter().map(|(event, context)| (event, context))
    }
}

impl<E> IntoIterator for Batch<E> {
    type Item = (E, EventContext);
    type IntoIter = std::vec::IntoIter<(E, EventContext)>;

    fn into_iter(self) -> Self::IntoIter {
        self.events.into_iter()
    }
}
