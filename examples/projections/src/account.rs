//! An account: its events, the state that they make, and a view of them for its owner.

use bento::event_store::View;
use bento::{Envelope, PendingEvents, aggregate, domain_event};

#[domain_event(schema = "account.opened", version = 1)]
#[derive(Clone, Debug)]
pub struct AccountOpened {
    pub owner: String,
}

#[domain_event(schema = "account.deposited", version = 1)]
#[derive(Clone, Debug)]
pub struct Deposited {
    pub cents: i64,
}

#[domain_event(schema = "account.withdrawn", version = 1)]
#[derive(Clone, Debug)]
pub struct Withdrawn {
    pub cents: i64,
}

#[aggregate(
    event_sourced,
    name = "account",
    events(AccountOpened, Deposited, Withdrawn)
)]
#[derive(Debug, Default)]
pub struct Account {
    id: String,
    #[aggregate(version)]
    pub version: i64,
    pub cents: i64,
    events: PendingEvents,
}

impl Account {
    /// An account as it is before its first event.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            ..Self::default()
        }
    }

    pub fn open(id: &str, owner: &str) -> Self {
        let mut account = Self::new(id);
        account.raise(AccountOpened {
            owner: owner.to_owned(),
        });
        account
    }

    pub fn deposit(&mut self, cents: i64) {
        self.raise(Deposited { cents });
    }

    pub fn withdraw(&mut self, cents: i64) {
        self.raise(Withdrawn { cents });
    }

    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::AccountOpened(_) => {}
            AccountEvent::Deposited(deposited) => self.cents += deposited.cents,
            AccountEvent::Withdrawn(withdrawn) => self.cents -= withdrawn.cents,
        }
    }
}

/// The lines of a statement: made of the events when it is asked for, without a table.
#[derive(Debug, Default)]
pub struct Statement {
    pub lines: Vec<String>,
    cents: i64,
}

impl View for Statement {
    type Aggregate = Account;

    fn apply(&mut self, event: &AccountEvent, stored: &Envelope) {
        let text = match event {
            AccountEvent::AccountOpened(opened) => format!("opened for {}", opened.owner),
            AccountEvent::Deposited(deposited) => {
                self.cents += deposited.cents;
                format!("{:+} → {}", deposited.cents, self.cents)
            }
            AccountEvent::Withdrawn(withdrawn) => {
                self.cents -= withdrawn.cents;
                format!("{:+} → {}", -withdrawn.cents, self.cents)
            }
        };
        let number = stored.sequence.unwrap_or_default();
        self.lines.push(format!("{number}. {text}"));
    }
}
