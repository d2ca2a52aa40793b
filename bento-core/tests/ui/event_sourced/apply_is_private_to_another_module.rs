use bento_core::{PendingEvents, aggregate, domain_event};

#[domain_event(schema = "account.opened", version = 1)]
#[derive(Debug)]
struct AccountOpened {}

#[aggregate(event_sourced, events(AccountOpened))]
#[derive(Default)]
struct Account {
    id: u32,
    #[aggregate(version)]
    version: i64,
    events: PendingEvents,
}

mod behaviour {
    use super::{Account, AccountEvent};

    impl Account {
        fn apply(&mut self, _: &AccountEvent) {}
    }
}

fn main() {}
