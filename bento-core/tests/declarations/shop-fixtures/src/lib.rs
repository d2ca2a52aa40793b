//! Links the normal build of `shop` into the unit tests of `shop`.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub)]

use bento_core::{PendingEvents, aggregate};

/// An order.
pub fn order_created() -> shop::OrderCreated {
    shop::OrderCreated { order_id: 1, currency: "EUR".into() }
}

/// An aggregate may raise an event of another crate.
#[aggregate(events(shop::OrderCreated))]
pub struct Order {
    /// Its number.
    pub id: u64,
    /// Not yet collected.
    pub events: PendingEvents,
}
