//! The parts that the tests of the whole journey share with the relay processes that they start and
//! kill.

use bento_core::{PendingEvents, aggregate, domain_event};

pub mod broker_log;
pub mod consuming;
pub mod handling;
pub mod kill;
pub mod ledgers;
pub mod projecting;
pub mod releases;

/// Something was counted on an account.
#[domain_event(schema = "account.counted", version = 1)]
#[derive(Clone, Debug)]
pub struct Counted {
    /// Names the event in the ground truth.
    pub token: String,
}

/// An account whose events were flushed before its row was locked: the mistake that costs the
/// order.
#[domain_event(schema = "account.counted_early", version = 1)]
#[derive(Clone, Debug)]
pub struct CountedEarly {
    /// Names the event in the ground truth.
    pub token: String,
}

/// The aggregate whose version is the ground truth of order.
#[aggregate(events(Counted))]
#[derive(Debug)]
pub struct Account {
    /// Its key.
    pub id: i64,
    /// The events that were raised.
    pub events: PendingEvents,
}

/// The aggregate of the early flush.
#[aggregate(events(CountedEarly))]
#[derive(Debug)]
pub struct EarlyAccount {
    /// Its key.
    pub id: i64,
    /// The events that were raised.
    pub events: PendingEvents,
}

impl Account {
    /// The account with this key.
    pub fn new(id: i64) -> Self {
        Self {
            id,
            events: PendingEvents::default(),
        }
    }
}

impl EarlyAccount {
    /// The account with this key.
    pub fn new(id: i64) -> Self {
        Self {
            id,
            events: PendingEvents::default(),
        }
    }
}
