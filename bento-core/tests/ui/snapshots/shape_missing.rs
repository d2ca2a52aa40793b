use bento_core::{PendingEvents, aggregate, domain_event};
use serde::{Deserialize, Serialize};

#[domain_event(schema = "account.opened", version = 1)]
#[derive(Debug)]
pub struct AccountOpened {}

#[aggregate(event_sourced, snapshots, events(AccountOpened))]
#[derive(Default, Serialize, Deserialize)]
pub struct Account {
    id: u64,
    #[aggregate(version)]
    version: i64,
    events: PendingEvents,
}

impl Account {
    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::AccountOpened(_) => {}
        }
    }
}

fn main() {}
