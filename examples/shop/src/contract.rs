//! The contract of the shop with other services. They rely on each field of it, and learn nothing
//! else.

use std::collections::BTreeMap;

use bento::integration_event;
use uuid::Uuid;

use crate::order::{OrderCancelled, OrderConfirmed};

/// An order is to be delivered.
#[integration_event(from = OrderConfirmed, schema = "shop.order.confirmed", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct OrderConfirmedV1 {
    pub order_id: Uuid,
    /// The quantity of each product.
    pub products: BTreeMap<String, i64>,
}

/// An order is not to be delivered any more.
#[integration_event(from = OrderCancelled, schema = "shop.order.cancelled", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct OrderCancelledV1 {
    pub order_id: Uuid,
}

impl From<&OrderConfirmed> for OrderConfirmedV1 {
    fn from(event: &OrderConfirmed) -> Self {
        let mut products = BTreeMap::new();
        for item in &event.items {
            *products.entry(item.product.clone()).or_default() += i64::from(item.quantity);
        }
        Self {
            order_id: event.order_id,
            products,
        }
    }
}

impl From<&OrderCancelled> for OrderCancelledV1 {
    fn from(event: &OrderCancelled) -> Self {
        let order_id = event.order_id;
        Self { order_id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Item;

    #[test]
    fn the_contract_has_each_product_once_and_no_price() {
        let item = |product: &str, quantity| Item {
            product: product.to_owned(),
            quantity,
            unit_price: 450,
        };
        let confirmed = OrderConfirmed {
            order_id: Uuid::nil(),
            items: vec![item("tea", 2), item("coffee", 3), item("tea", 5)],
        };
        let contract = OrderConfirmedV1::from(&confirmed);
        let products = [("coffee".to_owned(), 3), ("tea".to_owned(), 7)];
        assert_eq!(contract.products, BTreeMap::from(products));
    }
}
