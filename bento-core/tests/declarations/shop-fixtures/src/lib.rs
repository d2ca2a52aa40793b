//! Links the normal build of `shop` into the unit tests of `shop`.
#![forbid(unsafe_code)]

use bento_core::{PendingEvents, aggregate};

pub fn order_created() -> shop::OrderCreated {
    shop::OrderCreated { order_id: 1, currency: "EUR".into() }
}

/// An aggregate may raise an event of another crate.
#[aggregate(events(shop::OrderCreated))]
pub struct Order {
    pub id: u64,
    pub events: PendingEvents,
}
