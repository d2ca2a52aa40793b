//! The account whose bookings every contender stores and loads, about 360 bytes of JSON each.

use bento_core::{PendingEvents, WireShape, aggregate, domain_event};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The type under which Bento and the code by hand store an account.
pub(crate) const ACCOUNT: &str = "account";

/// The type under which they store one that keeps snapshots.
pub(crate) const KEPT_ACCOUNT: &str = "kept_account";

/// The number of events from one snapshot to the next.
pub(crate) const EVERY: usize = 100;

/// Money has come.
#[domain_event(schema = "account.deposited", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Deposited {
    pub(crate) cents: i64,
    pub(crate) reference: Uuid,
    pub(crate) booked_at: DateTime<Utc>,
    pub(crate) purpose: String,
    pub(crate) from: Party,
    pub(crate) channel: String,
}

/// Money has gone.
#[domain_event(schema = "account.withdrawn", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Withdrawn {
    pub(crate) cents: i64,
    pub(crate) reference: Uuid,
    pub(crate) booked_at: DateTime<Utc>,
    pub(crate) purpose: String,
    pub(crate) to: Party,
    pub(crate) channel: String,
}

/// The other side of a booking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Party {
    pub(crate) name: String,
    pub(crate) account: String,
    pub(crate) bank: String,
    pub(crate) country: String,
}

/// The state of an account, which is the same for all contenders.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, WireShape)]
pub(crate) struct Totals {
    pub(crate) balance: i64,
    pub(crate) deposits: i64,
    pub(crate) withdrawals: i64,
    pub(crate) largest: i64,
    pub(crate) last_booked_at: Option<DateTime<Utc>>,
    pub(crate) last_party: String,
}

/// A booking that is to be raised.
#[derive(Clone, Debug)]
pub(crate) enum Booking {
    Deposited(Deposited),
    Withdrawn(Withdrawn),
}

impl Booking {
    /// The booking with this number, counted from 0: every third one takes money.
    pub(crate) fn sample(number: usize) -> Self {
        let cents = 1_000 + (number as i64 * 37) % 9_000;
        let reference = Uuid::from_u128(0x0192_f3a4_0000_7000_8000_0000_0000_0000 + number as u128);
        let micros = 1_700_000_000_000_000 + number as i64 * 1_001;
        let booked_at = DateTime::from_timestamp_micros(micros).expect("a time in 2023");
        let purpose = format!("Invoice 2023-{number:06}, thank you for your order");
        let party = Party {
            name: "Teehaus am Markt GmbH".to_owned(),
            account: "DE89370400440532013000".to_owned(),
            bank: "COBADEFFXXX".to_owned(),
            country: "DE".to_owned(),
        };
        let channel = "sepa-credit-transfer".to_owned();
        if number % 3 < 2 {
            Self::Deposited(Deposited {
                cents,
                reference,
                booked_at,
                purpose,
                from: party,
                channel,
            })
        } else {
            Self::Withdrawn(Withdrawn {
                cents,
                reference,
                booked_at,
                purpose,
                to: party,
                channel,
            })
        }
    }

    /// This number of bookings, the first with the number `from`.
    pub(crate) fn samples(from: usize, bookings: usize) -> impl Iterator<Item = Self> {
        (from..from + bookings).map(Self::sample)
    }
}

impl Totals {
    pub(crate) fn deposit(&mut self, deposited: &Deposited) {
        self.balance += deposited.cents;
        self.deposits += 1;
        self.note(deposited.cents, deposited.booked_at, &deposited.from);
    }

    pub(crate) fn withdraw(&mut self, withdrawn: &Withdrawn) {
        self.balance -= withdrawn.cents;
        self.withdrawals += 1;
        self.note(withdrawn.cents, withdrawn.booked_at, &withdrawn.to);
    }

    pub(crate) fn book(&mut self, booking: &Booking) {
        match booking {
            Booking::Deposited(deposited) => self.deposit(deposited),
            Booking::Withdrawn(withdrawn) => self.withdraw(withdrawn),
        }
    }

    /// The state after the first bookings.
    pub(crate) fn after(bookings: usize) -> Self {
        let mut totals = Self::default();
        Booking::samples(0, bookings).for_each(|booking| totals.book(&booking));
        totals
    }

    fn note(&mut self, cents: i64, booked_at: DateTime<Utc>, party: &Party) {
        self.largest = self.largest.max(cents);
        self.last_booked_at = Some(booked_at);
        self.last_party.clone_from(&party.account);
    }
}

/// An account without snapshots.
#[aggregate(event_sourced, name = "account", events(Deposited, Withdrawn))]
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) id: String,
    #[aggregate(version)]
    pub(crate) version: i64,
    pub(crate) totals: Totals,
    pub(crate) events: PendingEvents,
}

/// An account that keeps a snapshot every [`EVERY`] events.
#[aggregate(
    event_sourced,
    snapshots(every = 100),
    name = "kept_account",
    events(Deposited, Withdrawn)
)]
#[derive(Debug, Default, Serialize, Deserialize, WireShape)]
pub(crate) struct KeptAccount {
    pub(crate) id: String,
    #[aggregate(version)]
    pub(crate) version: i64,
    pub(crate) totals: Totals,
    pub(crate) events: PendingEvents,
}

impl Account {
    pub(crate) fn book(&mut self, booking: Booking) {
        match booking {
            Booking::Deposited(deposited) => self.raise(deposited),
            Booking::Withdrawn(withdrawn) => self.raise(withdrawn),
        }
    }

    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Deposited(deposited) => self.totals.deposit(deposited),
            AccountEvent::Withdrawn(withdrawn) => self.totals.withdraw(withdrawn),
        }
    }
}

impl KeptAccount {
    pub(crate) fn book(&mut self, booking: Booking) {
        match booking {
            Booking::Deposited(deposited) => self.raise(deposited),
            Booking::Withdrawn(withdrawn) => self.raise(withdrawn),
        }
    }

    fn apply(&mut self, event: &KeptAccountEvent) {
        match event {
            KeptAccountEvent::Deposited(deposited) => self.totals.deposit(deposited),
            KeptAccountEvent::Withdrawn(withdrawn) => self.totals.withdraw(withdrawn),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_300_to_400_bytes() {
        let Booking::Deposited(deposited) = Booking::sample(1) else {
            panic!("the second booking brings money");
        };
        let payload = serde_json::to_vec(&deposited).expect("it serialises");
        assert!((300..=400).contains(&payload.len()), "{}", payload.len());
    }
}
