//! Declares `order.created` version 2, as `billing` does.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub)]

use bento_core::{UpcastFrom, domain_event};

/// Before there were currencies.
#[domain_event(schema = "order.created", version = 1, superseded)]
#[derive(Debug)]
pub struct OrderCreatedV1 {
    /// Its number.
    pub order_id: u64,
}

/// A customer has placed an order.
#[domain_event(schema = "order.created", version = 2, upcast_from = OrderCreatedV1)]
#[derive(Debug)]
pub struct OrderCreated {
    /// Its number.
    pub order_id: u64,
    /// ISO 4217.
    pub currency: String,
}

impl UpcastFrom<OrderCreatedV1> for OrderCreated {
    fn upcast_from(old: OrderCreatedV1) -> Self {
        Self { order_id: old.order_id, currency: "EUR".into() }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_same_declaration_linked_twice_is_one() {
        assert_eq!(shop_fixtures::order_created().order_id, 1);
        bento_core::Registry::global().validate().unwrap();
    }
}
