//! The catalogue as people and programs read it.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    dead_code
)]

use bento_core::{PendingEvents, Registry, UpcastFrom, aggregate, domain_event};
use expect_test::expect;

/// An order as it was taken by telephone.
#[domain_event(schema = "order.created", version = 1, superseded)]
#[derive(Debug)]
pub struct OrderCreatedV1 {
    pub customer: String,
}

/// A customer has placed an order.
///
/// Prices are those of the moment.
#[domain_event(
    schema = "order.created",
    version = 4,
    upcast_from = OrderCreatedV1,
    removed("fax", since = 3),
    topic = "orders",
    routing_key = "eu",
)]
#[derive(Debug)]
#[serde(rename_all = "camelCase")]
pub struct OrderCreated {
    pub first_name: String,
    pub last_name: Option<String>,
    /// ISO 4217, as in `EUR` | `USD`.
    #[event(since = 3, default = "EUR")]
    #[event(renamed_from = "curr", since = 4)]
    pub currency: String,
}

impl UpcastFrom<OrderCreatedV1> for OrderCreated {
    fn upcast_from(old: OrderCreatedV1) -> Self {
        Self {
            first_name: old.customer,
            last_name: None,
            currency: "EUR".into(),
        }
    }
}

#[domain_event(schema = "parcel.delivered", version = 3, oldest = 3, consumes)]
#[derive(Debug)]
pub struct ParcelDelivered {}

/// The goods that a customer has asked for.
#[aggregate(events(OrderCreated))]
pub struct Order {
    id: u64,
    events: PendingEvents,
}

#[test]
fn as_text() {
    expect![[r#"
        order.created v4 current (catalogue::OrderCreated)
          A customer has placed an order.

          Prices are those of the moment.
          topic orders
          routing key eu
          firstName: String
          lastName: Option<String>
          currency: String
              ISO 4217, as in `EUR` | `USD`.
          v4: renamed `curr` to `currency`
          v3: removed `fax`, added `curr`
          v2: upcast from `OrderCreatedV1`

        order.created v1 superseded (catalogue::OrderCreatedV1)
          An order as it was taken by telephone.
          customer: String

        parcel.delivered v3 consumes (catalogue::ParcelDelivered)
          reads versions from 3

        aggregate order (catalogue::Order)
          The goods that a customer has asked for.
          raises order.created

    "#]]
    .assert_eq(&Registry::global().catalogue().to_text());
}

#[test]
fn as_markdown() {
    expect![[r#"
        # Events

        ## order.created v4

        `catalogue::OrderCreated`, current

        A customer has placed an order.

        Prices are those of the moment.

        Topic `orders`.

        Routing key `eu`.

        | field | type | |
        |---|---|---|
        | `firstName` | `String` |  |
        | `lastName` | `Option<String>` |  |
        | `currency` | `String` | ISO 4217, as in `EUR` \| `USD`. |

        - v4: renamed `curr` to `currency`
        - v3: removed `fax`, added `curr`
        - v2: upcast from `OrderCreatedV1`

        ## order.created v1

        `catalogue::OrderCreatedV1`, superseded

        An order as it was taken by telephone.

        | field | type | |
        |---|---|---|
        | `customer` | `String` |  |

        ## parcel.delivered v3

        `catalogue::ParcelDelivered`, consumes

        Reads versions from 3.

        It has no fields.

        # Aggregates

        ## order

        `catalogue::Order`

        The goods that a customer has asked for.

        - `order.created`

    "#]]
    .assert_eq(&Registry::global().catalogue().to_markdown());
}

#[test]
fn as_json() {
    expect![[r#"
        {
          "events": [
            {
              "schema": "order.created",
              "version": 4,
              "oldest": 1,
              "role": "current",
              "rust_name": "catalogue::OrderCreated",
              "docs": "A customer has placed an order.\n\nPrices are those of the moment.",
              "topic": "orders",
              "routing_key": "eu",
              "fields": [
                {
                  "name": "firstName",
                  "rust_type": "String",
                  "docs": ""
                },
                {
                  "name": "lastName",
                  "rust_type": "Option<String>",
                  "docs": ""
                },
                {
                  "name": "currency",
                  "rust_type": "String",
                  "docs": "ISO 4217, as in `EUR` | `USD`."
                }
              ],
              "versions": [
                {
                  "version": 4,
                  "changes": [
                    "renamed `curr` to `currency`"
                  ]
                },
                {
                  "version": 3,
                  "changes": [
                    "removed `fax`",
                    "added `curr`"
                  ]
                },
                {
                  "version": 2,
                  "changes": [
                    "upcast from `OrderCreatedV1`"
                  ]
                }
              ]
            },
            {
              "schema": "order.created",
              "version": 1,
              "oldest": 1,
              "role": "superseded",
              "rust_name": "catalogue::OrderCreatedV1",
              "docs": "An order as it was taken by telephone.",
              "fields": [
                {
                  "name": "customer",
                  "rust_type": "String",
                  "docs": ""
                }
              ],
              "versions": []
            },
            {
              "schema": "parcel.delivered",
              "version": 3,
              "oldest": 3,
              "role": "consumes",
              "rust_name": "catalogue::ParcelDelivered",
              "docs": "",
              "fields": [],
              "versions": []
            }
          ],
          "aggregates": [
            {
              "aggregate_type": "order",
              "rust_name": "catalogue::Order",
              "docs": "The goods that a customer has asked for.",
              "events": [
                "order.created"
              ]
            }
          ]
        }"#]]
    .assert_eq(&Registry::global().catalogue().to_json());
}
