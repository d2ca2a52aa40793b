//! An event-sourced account.

use bento_core::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "ledger.opened", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    pub owner: String,
}

#[domain_event(schema = "ledger.credited", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct Credited {
    pub cents: i64,
}

/// The account whose events are stored.
#[aggregate(event_sourced, events(Opened, Credited), name = "ledger")]
#[derive(Debug, Default)]
pub struct Ledger {
    pub id: String,
    #[aggregate(version)]
    pub version: i64,
    pub owner: String,
    pub cents: i64,
    pub events: PendingEvents,
}

impl Ledger {
    pub fn open(id: &str, owner: &str) -> Self {
        let mut ledger = Self {
            id: id.to_owned(),
            ..Self::default()
        };
        ledger.raise(Opened {
            owner: owner.to_owned(),
        });
        ledger
    }

    pub fn credit(&mut self, cents: i64) {
        self.raise(Credited { cents });
    }

    fn apply(&mut self, event: &LedgerEvent) {
        match event {
            LedgerEvent::Opened(opened) => self.owner.clone_from(&opened.owner),
            LedgerEvent::Credited(credited) => self.cents += credited.cents,
        }
    }
}

/// Another aggregate that lists only a part of the events under the same name.
pub mod partial {
    use super::Opened;
    use bento_core::{PendingEvents, aggregate};

    #[aggregate(event_sourced, events(Opened), name = "ledger", event_enum = PartialEvent)]
    #[derive(Debug, Default)]
    pub struct Partial {
        pub id: String,
        #[aggregate(version)]
        pub version: i64,
        pub events: PendingEvents,
    }

    impl Partial {
        fn apply(&mut self, _: &PartialEvent) {}
    }
}
