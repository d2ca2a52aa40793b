use bento_core::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "account.opened", version = 1)]
#[derive(Debug)]
pub struct AccountOpened {}

#[aggregate(events(AccountOpened))]
#[derive(Default)]
pub struct Account {
    id: u64,
    #[aggregate(version)]
    version: i64,
    events: PendingEvents,
}

fn needs_events(_: &impl bento_core::EventSourced) {}

pub fn load(account: &Account) {
    needs_events(account);
}

fn main() {}
