//! Calls the framework by another name, and does not say so in its attributes.
#![forbid(unsafe_code)]

pub use events;

use events::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "parcel.sent", version = 1)]
#[derive(Debug)]
pub struct ParcelSent {
    pub weight: u64,
}

#[aggregate(events(ParcelSent))]
pub struct Parcel {
    id: u64,
    events: PendingEvents,
}
