//! The ledgers that the writers of the event store's test append to.

use bento_core::{PendingEvents, aggregate, domain_event};

/// The number of ledgers.
pub const LEDGERS: u32 = 20;
/// The writers of one process.
pub const WRITERS: u32 = 8;

/// A ledger was credited.
#[domain_event(schema = "ledger.credited", version = 1)]
#[derive(Clone, Debug)]
pub struct Credited {
    /// The balance that the writer has seen: that after the event before.
    pub seen: i64,
    /// The number of cents.
    pub cents: i64,
}

/// A ledger, made of its events.
#[aggregate(event_sourced, events(Credited))]
#[derive(Debug, Default)]
pub struct Ledger {
    /// Its key.
    pub id: u32,
    /// The number of its events.
    #[aggregate(version)]
    pub version: i64,
    /// The sum of its events.
    pub balance: i64,
    /// The events that were raised.
    pub events: PendingEvents,
}

impl Ledger {
    /// Credits, and writes down the balance that was there.
    pub fn credit(&mut self, cents: i64) {
        let seen = self.balance;
        self.raise(Credited { seen, cents });
    }

    fn apply(&mut self, event: &LedgerEvent) {
        match event {
            LedgerEvent::Credited(credited) => self.balance += credited.cents,
        }
    }
}
