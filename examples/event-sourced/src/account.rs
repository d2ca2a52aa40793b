//! An account: its events, and the state that they make.

use bento::{PendingEvents, WireShape, aggregate, domain_event};
use serde::{Deserialize, Serialize};

#[domain_event(schema = "account.opened", version = 2)]
#[derive(Clone, Debug)]
pub struct AccountOpened {
    pub owner: String,
    #[event(since = 2, default = "EUR")]
    pub currency: String,
}

#[domain_event(schema = "account.deposited", version = 1)]
#[derive(Clone, Debug)]
pub struct Deposited {
    pub amount: i64,
}

#[domain_event(schema = "account.withdrawn", version = 1)]
#[derive(Clone, Debug)]
pub struct Withdrawn {
    pub amount: i64,
}

/// An account is never overdrawn.
#[derive(Debug, thiserror::Error)]
#[error("{balance} cannot cover a withdrawal of {amount}")]
pub struct Overdraft {
    balance: i64,
    amount: i64,
}

#[aggregate(
    event_sourced,
    snapshots(every = 3),
    name = "account",
    events(AccountOpened, Deposited, Withdrawn)
)]
#[derive(Debug, Default, Serialize, Deserialize, WireShape)]
pub struct Account {
    id: String,
    #[aggregate(version)]
    pub version: i64,
    pub currency: String,
    pub balance: i64,
    events: PendingEvents,
}

impl Account {
    pub fn open(id: &str, owner: &str, currency: &str) -> Self {
        let mut account = Self {
            id: id.to_owned(),
            ..Self::default()
        };
        account.raise(AccountOpened {
            owner: owner.to_owned(),
            currency: currency.to_owned(),
        });
        account
    }

    pub fn deposit(&mut self, amount: i64) {
        self.raise(Deposited { amount });
    }

    /// The rule comes before the event: what was raised has happened.
    pub fn withdraw(&mut self, amount: i64) -> Result<(), Overdraft> {
        let balance = self.balance;
        if amount > balance {
            return Err(Overdraft { balance, amount });
        }
        self.raise(Withdrawn { amount });
        Ok(())
    }

    /// Called for each event that is raised, and for each stored one when the account is loaded.
    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::AccountOpened(opened) => self.currency.clone_from(&opened.currency),
            AccountEvent::Deposited(deposited) => self.balance += deposited.amount,
            AccountEvent::Withdrawn(withdrawn) => self.balance -= withdrawn.amount,
        }
    }
}
