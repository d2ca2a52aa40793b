//! The view that the stock has of the shop's contract.

use std::collections::BTreeMap;

use bento::codec::DecodeError;
use bento::domain_event;
use bento::envelope::{Envelope, FromEnvelope};
use bento::event::{DomainEvent, EventDescriptor};
use uuid::Uuid;

/// An order is to be delivered.
#[domain_event(schema = "shop.order.confirmed", version = 1, consumes)]
#[derive(Clone, Debug)]
pub struct OrderConfirmed {
    pub order_id: Uuid,
    pub products: BTreeMap<String, i64>,
}

/// An order is not to be delivered any more.
#[domain_event(schema = "shop.order.cancelled", version = 1, consumes)]
#[derive(Clone, Debug)]
pub struct OrderCancelled {
    pub order_id: Uuid,
}

/// Both, for one handler. Two handlers would keep no order between the confirmation of an order and
/// its cancellation.
#[derive(Clone, Debug)]
pub enum OrderEvent {
    Confirmed(OrderConfirmed),
    Cancelled(OrderCancelled),
}

impl FromEnvelope for OrderEvent {
    const EVENTS: &'static [&'static EventDescriptor] =
        &[OrderConfirmed::DESCRIPTOR, OrderCancelled::DESCRIPTOR];

    fn from_envelope(envelope: &Envelope) -> Result<Self, DecodeError> {
        match &*envelope.event_type {
            OrderCancelled::SCHEMA => envelope.decode().map(Self::Cancelled),
            _ => envelope.decode().map(Self::Confirmed),
        }
    }
}
