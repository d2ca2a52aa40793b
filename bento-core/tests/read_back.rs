//! Debug builds refuse to write what serde cannot read again, and name the field.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used
)]
#![cfg(debug_assertions)]

use std::collections::BTreeMap;

use bento_core::codec::DecodeError;
use bento_core::domain_event;
use bento_core::event::Raisable;
use bento_core::outbox::Sharding;
use bento_core::unit_of_work::{FlushError, UnitOfWork, raise};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Price {
    Exact { amount: u128 },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Totals {
    pub amount: u128,
}

#[domain_event(schema = "price.agreed", version = 1)]
#[derive(Clone, Debug)]
pub struct PriceAgreed {
    pub number: u8,
    pub price: Price,
    pub note: String,
}

#[domain_event(schema = "totals.counted", version = 1)]
#[derive(Clone, Debug)]
pub struct TotalsCounted {
    pub number: u8,
    #[serde(flatten)]
    pub totals: Totals,
}

#[domain_event(schema = "rest.counted", version = 1)]
#[derive(Clone, Debug)]
pub struct RestCounted {
    #[serde(flatten)]
    pub rest: BTreeMap<String, u64>,
}

fn flushed<E: Raisable>(event: E) -> Result<(), FlushError> {
    let (unit_of_work, frame) = UnitOfWork::open();
    unit_of_work.scope_sync(|| raise(event)).unwrap();
    let result = unit_of_work
        .flush(frame, &Sharding::default())
        .map(|flush| flush.done());
    unit_of_work.discard(frame);
    result
}

fn faulty_field<E: Raisable>(event: E) -> String {
    match flushed(event) {
        Err(FlushError::Unreadable {
            event_type, source, ..
        }) => match *source {
            DecodeError::Malformed {
                path: Some(path), ..
            } => {
                assert_eq!(event_type, E::SCHEMA);
                path
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_number_too_large_for_a_tagged_enum_is_refused_at_its_field() {
    let price = Price::Exact { amount: u128::MAX };
    assert!(
        faulty_field(PriceAgreed {
            number: 1,
            price,
            note: String::new()
        })
        .starts_with("price")
    );
}

#[test]
fn a_number_too_large_for_flatten_is_refused_at_the_field() {
    assert_eq!(
        faulty_field(TotalsCounted {
            number: 1,
            totals: Totals { amount: u128::MAX }
        }),
        "totals"
    );
}

#[test]
fn what_can_be_read_is_written() {
    flushed(RestCounted {
        rest: BTreeMap::from([("a".to_owned(), u64::MAX)]),
    })
    .unwrap();
}
