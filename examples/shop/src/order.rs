//! The order: its row, its rules, and the events it raises. It knows nothing of HTTP and of
//! transactions.

use std::fmt;

use bento::{PendingEvents, aggregate, domain_event};
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A customer placed an order. Amounts are in the currency's smallest unit.
#[domain_event(schema = "order.placed", version = 2)]
#[derive(Clone, Debug, PartialEq)]
pub struct OrderPlaced {
    pub order_id: Uuid,
    pub customer: String,
    pub items: Vec<Item>,
    pub total: i64,
    // Version 1 was raised by a shop that sold for euros only.
    #[event(since = 2, default = Currency::Eur)]
    pub currency: Currency,
}

/// The shop will deliver once the items are reserved and paid.
#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct OrderConfirmed {
    pub order_id: Uuid,
    pub items: Vec<Item>,
}

/// The items are in stock, and kept for the order.
#[domain_event(schema = "order.reserved", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct OrderReserved {
    pub order_id: Uuid,
}

/// There is too little of a product in stock.
#[domain_event(schema = "order.rejected", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct OrderRejected {
    pub order_id: Uuid,
    pub product: String,
}

/// The order was paid in full.
#[domain_event(schema = "order.paid", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct OrderPaid {
    pub order_id: Uuid,
    pub total: i64,
    pub currency: Currency,
}

/// The order was cancelled before it was paid.
#[domain_event(schema = "order.cancelled", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct OrderCancelled {
    pub order_id: Uuid,
    pub reason: Option<String>,
}

/// An order of a customer.
#[aggregate(
    name = "order",
    events(
        OrderPlaced,
        OrderConfirmed,
        OrderReserved,
        OrderRejected,
        OrderPaid,
        OrderCancelled
    )
)]
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "shop_order")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub tenant: String,
    pub customer: String,
    pub currency: Currency,
    pub status: Status,
    /// It counts the events, by which the list of orders knows what it has seen.
    #[aggregate(version)]
    pub version: i64,
    /// Rows of their own: `store` reads and writes them.
    #[sea_orm(ignore)]
    pub items: Vec<Item>,
    #[sea_orm(ignore)]
    pub events: PendingEvents,
}

impl ActiveModelBehavior for ActiveModel {}

/// An order, which is its row.
pub type Order = Model;

/// A product and its quantity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Item {
    #[schema(min_length = 1, max_length = 100)]
    pub product: String,
    #[schema(minimum = 1, maximum = 10_000)]
    pub quantity: i32,
    /// The price of one, in the currency's smallest unit: 1999 is 19.99 EUR.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    pub unit_price: i64,
}

/// The state of an order: placed → confirmed → reserved → paid. It is rejected if there is too
/// little in stock, or cancelled before it is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema, EnumIter, DeriveActiveEnum)]
#[sea_orm(
    rs_type = "String",
    db_type = "String(StringLen::N(16))",
    rename_all = "snake_case"
)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Placed,
    Confirmed,
    Reserved,
    Rejected,
    Paid,
    Cancelled,
}

/// The currencies of the shop.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, EnumIter, DeriveActiveEnum,
)]
#[sea_orm(
    rs_type = "String",
    db_type = "String(StringLen::N(3))",
    rename_all = "UPPERCASE"
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Currency {
    Eur,
    Usd,
    Gbp,
}

/// A rule of orders forbids it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("an order that is {status} cannot be {wanted}")]
    Status { status: Status, wanted: Status },
    #[error("an order has 1 to {MAX_ITEMS} items, not {0}")]
    Items(usize),
    #[error("`{field}` has 1 to {MAX_TEXT} characters")]
    Text { field: &'static str },
    #[error("`{product}`: the quantity is from 1 to {MAX_QUANTITY}, not {quantity}")]
    Quantity { product: String, quantity: i32 },
    #[error("`{product}`: the price is from 0 to {MAX_PRICE}, not {price}")]
    Price { product: String, price: i64 },
}

const MAX_ITEMS: usize = 100;
const MAX_TEXT: usize = 100;
const MAX_QUANTITY: i32 = 10_000;
const MAX_PRICE: i64 = 1_000_000_000;

impl Order {
    /// A new order.
    pub fn place(customer: String, currency: Currency, items: Vec<Item>) -> Result<Self, Refusal> {
        check_text("customer", &customer)?;
        if items.is_empty() || items.len() > MAX_ITEMS {
            return Err(Refusal::Items(items.len()));
        }
        items.iter().try_for_each(Item::check)?;
        let (id, status, events) = (Uuid::now_v7(), Status::Placed, PendingEvents::default());
        let mut order = Self {
            id,
            tenant: String::new(),
            customer,
            currency,
            status,
            version: 0,
            items,
            events,
        };
        order.raise(OrderPlaced {
            order_id: id,
            customer: order.customer.clone(),
            items: order.items.clone(),
            total: order.total(),
            currency,
        });
        Ok(order)
    }

    /// The shop will deliver it.
    pub fn confirm(&mut self) -> Result<(), Refusal> {
        self.advance(&[Status::Placed], Status::Confirmed)?;
        self.raise(OrderConfirmed {
            order_id: self.id,
            items: self.items.clone(),
        });
        Ok(())
    }

    /// The stock keeps the items for it.
    pub fn reserve(&mut self) -> Result<(), Refusal> {
        self.advance(&[Status::Confirmed], Status::Reserved)?;
        self.raise(OrderReserved { order_id: self.id });
        Ok(())
    }

    /// There is too little of `product` in stock.
    pub fn reject(&mut self, product: String) -> Result<(), Refusal> {
        self.advance(&[Status::Confirmed], Status::Rejected)?;
        self.raise(OrderRejected {
            order_id: self.id,
            product,
        });
        Ok(())
    }

    /// The customer has paid.
    pub fn pay(&mut self) -> Result<(), Refusal> {
        self.advance(&[Status::Reserved], Status::Paid)?;
        self.raise(OrderPaid {
            order_id: self.id,
            total: self.total(),
            currency: self.currency,
        });
        Ok(())
    }

    /// The customer does not want the order any more.
    pub fn cancel(&mut self, reason: Option<String>) -> Result<(), Refusal> {
        if let Some(reason) = &reason {
            check_text("reason", reason)?;
        }
        let open = [Status::Placed, Status::Confirmed, Status::Reserved];
        self.advance(&open, Status::Cancelled)?;
        self.raise(OrderCancelled {
            order_id: self.id,
            reason,
        });
        Ok(())
    }

    /// The price of the order. The limits of an item and of their number keep it far below
    /// overflow.
    pub fn total(&self) -> i64 {
        self.items
            .iter()
            .map(|item| item.unit_price * i64::from(item.quantity))
            .sum()
    }

    fn advance(&mut self, from: &[Status], wanted: Status) -> Result<(), Refusal> {
        if !from.contains(&self.status) {
            return Err(Refusal::Status {
                status: self.status,
                wanted,
            });
        }
        self.status = wanted;
        Ok(())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_value())
    }
}

impl Item {
    fn check(&self) -> Result<(), Refusal> {
        check_text("product", &self.product)?;
        if !(1..=MAX_QUANTITY).contains(&self.quantity) {
            return Err(Refusal::Quantity {
                product: self.product.clone(),
                quantity: self.quantity,
            });
        }
        if !(0..=MAX_PRICE).contains(&self.unit_price) {
            return Err(Refusal::Price {
                product: self.product.clone(),
                price: self.unit_price,
            });
        }
        Ok(())
    }
}

fn check_text(field: &'static str, text: &str) -> Result<(), Refusal> {
    if (1..=MAX_TEXT).contains(&text.chars().count()) {
        Ok(())
    } else {
        Err(Refusal::Text { field })
    }
}

#[cfg(test)]
mod tests {
    use bento_testkit::given;

    use super::*;

    fn placed() -> Order {
        let item = Item {
            product: "tea".to_owned(),
            quantity: 2,
            unit_price: 450,
        };
        Order::place("Ada".to_owned(), Currency::Eur, vec![item]).expect("a valid order")
    }

    fn reserved() -> Order {
        let mut order = placed();
        order.status = Status::Reserved;
        order
    }

    #[test]
    fn an_order_is_paid_once_and_only_when_it_is_reserved() {
        let confirmed = given(placed()).and(|order| order.confirm().expect("it is placed"));
        let early = confirmed.when(Order::pay);
        assert_eq!(
            early.result,
            Err(Refusal::Status {
                status: Status::Confirmed,
                wanted: Status::Paid
            })
        );
        early.and_nothing_else();

        let order = reserved();
        let order_id = order.id;
        let paid = given(order).when(Order::pay);
        paid.raises(OrderPaid {
            order_id,
            total: 900,
            currency: Currency::Eur,
        })
        .and_nothing_else();
    }

    #[test]
    fn an_order_that_is_paid_is_not_cancelled() {
        let paid = given(reserved()).and(|order| order.pay().expect("it is reserved"));
        let cancelled = paid.when(|order| order.cancel(None));
        assert_eq!(
            cancelled.result,
            Err(Refusal::Status {
                status: Status::Paid,
                wanted: Status::Cancelled
            })
        );
        cancelled.and_nothing_else();
    }

    #[test]
    fn what_version_1_stored_is_read_as_an_order_in_euros() {
        let stored = r#"{"order_id":"00000000-0000-0000-0000-000000000007","customer":"Ada","items":[],"total":900}"#;
        let envelope = bento::Envelope::new("order.placed", 1, Default::default(), stored);
        assert_eq!(
            envelope.decode::<OrderPlaced>().expect("history").currency,
            Currency::Eur
        );
    }

    #[test]
    fn all_declarations_fit_together() {
        bento_testkit::assert_registry!();
    }
}
