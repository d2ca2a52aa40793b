//! Reading the history of an event, and the names and values in its payload.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used
)]

mod declarations;
mod field_history;
mod payload_types;
mod serde_names;
mod typed_upcasters;

use std::collections::BTreeMap;

use bento_core::codec::{self, DecodeError};
use bento_core::upcast::TryUpcastFrom;
use bento_core::{DomainEvent, UpcastFrom, domain_event};
use chrono::{DateTime, NaiveDate, TimeZone, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

fn round_trip<E: DomainEvent + PartialEq>(event: &E) -> String {
    let mut payload = Vec::new();
    codec::encode(event, &mut payload).unwrap();
    assert_eq!(
        &codec::decode::<E>(E::SCHEMA, E::VERSION, &payload).unwrap(),
        event
    );
    String::from_utf8(payload).unwrap()
}
