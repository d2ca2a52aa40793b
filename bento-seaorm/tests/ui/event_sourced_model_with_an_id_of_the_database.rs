use bento_core::{PendingEvents, aggregate, domain_event};
use sea_orm::entity::prelude::*;

#[domain_event(schema = "account.opened", version = 1)]
#[derive(Debug)]
pub struct AccountOpened {}

#[aggregate(name = "account", event_sourced, events(AccountOpened))]
#[sea_orm::model]
#[derive(Clone, Debug, Default, DeriveEntityModel)]
#[sea_orm(table_name = "account")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    #[aggregate(version)]
    pub version: i64,
    pub events: PendingEvents,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::AccountOpened(_) => {}
        }
    }
}

pub fn open() -> Model {
    let mut account = Model::default();
    account.raise(AccountOpened {});
    account
}

fn main() {}
