//! The decisions of the stock, and its contract with other services.

use bento::{domain_event, integration_event};
use uuid::Uuid;

/// The products of an order are kept for it.
#[domain_event(schema = "reservation.made", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct ReservationMade {
    pub order_id: Uuid,
}

/// There is too little of a product for an order.
#[domain_event(schema = "reservation.refused", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct ReservationRefused {
    pub order_id: Uuid,
    pub product: String,
    /// The quantity that is left, which does not concern other services.
    pub left: i64,
}

/// The contract: the products of an order are kept for it.
#[integration_event(from = ReservationMade, schema = "stock.reserved", version = 1)]
#[derive(Clone, Debug)]
pub struct StockReservedV1 {
    pub order_id: Uuid,
}

/// The contract: there is too little of a product for an order.
#[integration_event(from = ReservationRefused, schema = "stock.rejected", version = 1)]
#[derive(Clone, Debug)]
pub struct StockRejectedV1 {
    pub order_id: Uuid,
    pub product: String,
}

impl From<&ReservationMade> for StockReservedV1 {
    fn from(event: &ReservationMade) -> Self {
        let order_id = event.order_id;
        Self { order_id }
    }
}

impl From<&ReservationRefused> for StockRejectedV1 {
    fn from(event: &ReservationRefused) -> Self {
        let (order_id, product) = (event.order_id, event.product.clone());
        Self { order_id, product }
    }
}
