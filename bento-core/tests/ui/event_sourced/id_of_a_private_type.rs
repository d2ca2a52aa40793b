use bento_core::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "account.opened", version = 1)]
#[derive(Debug)]
pub struct AccountOpened {}

#[derive(Default, bento_core::AggregateId)]
struct AccountId(u64);

#[aggregate(event_sourced, events(AccountOpened))]
#[derive(Default)]
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
