use bento_core::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "account.opened", version = 1)]
#[derive(Debug)]
pub struct AccountOpened {}

#[aggregate(event_sourced)]
#[derive(Default)]
pub struct Account {
    id: u64,
    #[aggregate(version)]
    version: i64,
    events: PendingEvents,
}

impl Account {
    fn apply(&mut self, event: &AccountEvent) {
        match *event {}
    }
}

pub fn load(events: Vec<AccountEvent>) -> Account {
    let mut account = Account::from_events(events);
    account.raise(AccountOpened {});
    account
}

fn main() {}
