//! A domain model that depends on `bento-core` alone.

use bento_core::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "parcel.sent", version = 2)]
#[derive(Clone, Debug)]
pub struct ParcelSent {
    pub grams: u64,
    #[event(since = 2, default = "DK")]
    pub country: String,
}

#[aggregate(events(ParcelSent))]
pub struct Parcel {
    id: u64,
    events: PendingEvents,
}

impl Parcel {
    pub fn pack(id: u64) -> Self {
        let events = PendingEvents::default();
        Self { id, events }
    }

    pub fn send(&mut self, grams: u64, country: &str) {
        let country = country.to_owned();
        self.raise(ParcelSent { grams, country });
    }
}

#[cfg(test)]
mod tests {
    use bento_testkit::given;

    use super::*;

    #[test]
    fn a_parcel_that_is_sent_raises_its_event() {
        let sent = ParcelSent {
            grams: 800,
            country: "SE".to_owned(),
        };
        let parcel = given(Parcel::pack(7)).when(|parcel| parcel.send(800, "SE"));
        parcel.raises(sent).and_nothing_else();
    }
}
