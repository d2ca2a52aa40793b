//! The aggregates whose events the suite stores.

use bento_core::{Envelope, PendingEvents, aggregate, domain_event};
use bento_relay::event_store::View;

/// A purse was opened. Version 1 had no currency.
#[domain_event(schema = "bento_testkit.purse.opened", version = 2)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The owner.
    pub owner: String,
    /// The currency.
    #[event(since = 2, default = "EUR")]
    pub currency: String,
}

/// Money was put into a purse.
#[domain_event(schema = "bento_testkit.purse.credited", version = 1)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credited {
    /// The amount.
    pub cents: i64,
}

/// An aggregate with an id of one part.
#[aggregate(event_sourced, events(Opened, Credited), name = "bento_testkit_purse")]
#[derive(Debug, Default)]
pub struct Purse {
    /// The id.
    pub id: String,
    /// The number of its stored events.
    #[aggregate(version)]
    pub version: i64,
    /// The owner.
    pub owner: String,
    /// The currency.
    pub currency: String,
    /// The sum of the credits.
    pub cents: i64,
    events: PendingEvents,
}

impl Purse {
    /// A new purse with its first event.
    pub fn open(id: impl Into<String>) -> Self {
        let mut purse = Self {
            id: id.into(),
            ..Self::default()
        };
        purse.raise(Opened {
            owner: "Ann".to_owned(),
            currency: "DKK".to_owned(),
        });
        purse
    }

    /// Puts money into it.
    pub fn credit(&mut self, cents: i64) {
        self.raise(Credited { cents });
    }

    fn apply(&mut self, event: &PurseEvent) {
        match event {
            PurseEvent::Opened(opened) => {
                self.owner.clone_from(&opened.owner);
                self.currency.clone_from(&opened.currency);
            }
            PurseEvent::Credited(credited) => self.cents += credited.cents,
        }
    }
}

/// The credits of a purse with the numbers of their events.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Credits(pub Vec<(i64, i64)>);

impl View for Credits {
    type Aggregate = Purse;

    fn apply(&mut self, event: &PurseEvent, stored: &Envelope) {
        if let PurseEvent::Credited(credited) = event {
            let number = stored.sequence.unwrap_or_default();
            self.0.push((number, credited.cents));
        }
    }
}

/// A gauge went up by one.
#[domain_event(schema = "bento_testkit.gauge.counted", version = 1)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {}

/// An aggregate with an id of two parts.
#[aggregate(event_sourced, id = (place, number), events(Counted), name = "bento_testkit_gauge")]
#[derive(Debug, Default)]
pub struct Gauge {
    /// The first part of the id.
    pub place: String,
    /// The second part of the id.
    pub number: u32,
    /// The number of its stored events.
    #[aggregate(version)]
    pub version: i64,
    /// The number of its events.
    pub count: u32,
    events: PendingEvents,
}

impl Gauge {
    /// A gauge before its first event.
    pub fn new(place: impl Into<String>, number: u32) -> Self {
        Self {
            place: place.into(),
            number,
            ..Self::default()
        }
    }

    /// Counts one up.
    pub fn count_up(&mut self) {
        self.raise(Counted {});
    }

    fn apply(&mut self, event: &GaugeEvent) {
        let GaugeEvent::Counted(_) = event;
        self.count += 1;
    }
}
