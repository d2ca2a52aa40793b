//! The order whose events every benchmark writes, publishes or decodes, about 360 bytes of JSON
//! each.

use bento_core::{PendingEvents, aggregate, domain_event};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An order was placed. Its history: version 2 brought the currency, version 3 calls the buyer a
/// customer.
#[domain_event(schema = "order.placed", version = 3)]
#[derive(Clone, Debug, PartialEq)]
pub struct OrderPlaced {
    pub order_id: Uuid,
    #[event(renamed_from = "buyer_id", since = 3)]
    pub customer_id: Uuid,
    #[event(since = 2, default = "EUR")]
    pub currency: String,
    pub total_cents: i64,
    pub placed_at: DateTime<Utc>,
    pub shipping: Address,
    pub lines: Vec<Line>,
}

/// The address to which an order goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Address {
    pub street: String,
    pub postcode: String,
    pub city: String,
    pub country: String,
}

/// An ordered product.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub sku: String,
    pub quantity: u32,
    pub price_cents: i64,
}

/// The aggregate that raises as many events as a benchmark asks for.
#[aggregate(events(OrderPlaced))]
#[derive(Debug)]
pub struct Order {
    pub id: Uuid,
    pub events: PendingEvents,
}

impl Order {
    /// An order with an id of its own and no event yet.
    pub fn new() -> Self {
        Self {
            id: Uuid::now_v7(),
            events: PendingEvents::default(),
        }
    }

    /// Raises this number of events.
    pub fn raise_many(&mut self, events: usize) {
        for number in 0..events {
            self.raise(OrderPlaced::sample(self.id, number));
        }
    }
}

impl Default for Order {
    fn default() -> Self {
        Self::new()
    }
}

impl OrderPlaced {
    /// An event of the order that differs from its neighbours.
    pub fn sample(order_id: Uuid, number: usize) -> Self {
        let price_cents = 1_000 + (number as i64 * 37) % 9_000;
        let line = |sku: &str, quantity| Line {
            sku: sku.to_owned(),
            quantity,
            price_cents,
        };
        Self {
            order_id,
            customer_id: Uuid::from_u128(
                0x0192_f3a4_0000_7000_8000_0000_0000_0000 + number as u128,
            ),
            currency: "EUR".to_owned(),
            total_cents: 3 * price_cents,
            placed_at: DateTime::from_timestamp_micros(
                1_700_000_000_000_000 + number as i64 * 1_001,
            )
            .expect("a time in 2023"),
            shipping: Address {
                street: "Lange Strasse 12".to_owned(),
                postcode: "20095".to_owned(),
                city: "Hamburg".to_owned(),
                country: "DE".to_owned(),
            },
            lines: vec![line("TEA-DARJEELING-250", 1), line("POT-STONEWARE-08", 2)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_300_to_400_bytes() {
        let payload =
            serde_json::to_vec(&OrderPlaced::sample(Uuid::now_v7(), 1)).expect("it serialises");
        assert!((300..=400).contains(&payload.len()), "{}", payload.len());
    }
}
