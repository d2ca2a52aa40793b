//! Links the normal build of `shop` into the unit tests of `shop`.
#![forbid(unsafe_code)]

pub fn order_created() -> shop::OrderCreated {
    shop::OrderCreated { order_id: 1, currency: "EUR".into() }
}
