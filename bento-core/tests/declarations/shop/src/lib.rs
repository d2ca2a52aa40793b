//! Declares `order.created` version 2, as `billing` does.
#![forbid(unsafe_code)]

use bento_core::{UpcastFrom, domain_event};

#[domain_event(schema = "order.created", version = 1, superseded)]
#[derive(Debug)]
pub struct OrderCreatedV1 {
    pub order_id: u64,
}

#[domain_event(schema = "order.created", version = 2, upcast_from = OrderCreatedV1)]
#[derive(Debug)]
pub struct OrderCreated {
    pub order_id: u64,
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
