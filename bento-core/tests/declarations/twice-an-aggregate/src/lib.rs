//! Declares the aggregate `order` in two modules.

use bento_core::domain_event;

#[domain_event(schema = "parcel.sent", version = 1)]
#[derive(Debug)]
pub struct ParcelSent {}

pub mod sales {
    #[bento_core::aggregate(events(super::ParcelSent))]
    pub struct Order {
        pub id: u64,
        pub events: bento_core::PendingEvents,
    }
}

pub mod shipping {
    #[bento_core::aggregate(events(super::ParcelSent), name = "order")]
    pub struct Shipment {
        pub id: u64,
        pub events: bento_core::PendingEvents,
    }
}
