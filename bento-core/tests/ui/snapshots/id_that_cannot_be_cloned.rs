use bento_core::{AggregateId, PendingEvents, WireShape, aggregate, domain_event};
use serde::{Deserialize, Serialize};

#[domain_event(schema = "account.opened", version = 1)]
#[derive(Debug)]
pub struct AccountOpened {}

#[derive(Default, Serialize, Deserialize, WireShape, AggregateId)]
pub struct AccountId(u64);

#[aggregate(event_sourced, snapshots, events(AccountOpened))]
#[derive(Default, Serialize, Deserialize, WireShape)]
pub struct Account {
    id: AccountId,
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
