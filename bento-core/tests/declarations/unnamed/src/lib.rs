//! Uses the framework through another crate, and does not say so in its attributes.
#![forbid(unsafe_code)]

use renamed::events::domain_event;

#[domain_event(schema = "parcel.lost", version = 1)]
#[derive(Debug)]
pub struct ParcelLost {}
