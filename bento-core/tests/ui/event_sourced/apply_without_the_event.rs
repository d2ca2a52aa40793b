use bento_core::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "account.opened", version = 1)]
#[derive(Debug)]
pub struct AccountOpened {}

#[aggregate(event_sourced, events(AccountOpened))]
#[derive(Default)]
pub struct Account {
    id: u64,
    #[aggregate(version)]
    version: i64,
    events: PendingEvents,
}

impl Account {
    fn apply(&mut self) {
        self.version += 1;
    }
}

fn main() {}
