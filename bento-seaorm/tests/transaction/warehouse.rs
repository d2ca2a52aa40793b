//! Aggregates that are SeaORM models, one for each kind of key, with and without a version.

use bento_core::domain_event;
use bento_seaorm::OutboxConnection;
use sea_orm::{ConnectionTrait, Schema};

use crate::support::TestDatabase;

#[domain_event(schema = "crate.packed", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    pub what: String,
}

/// Its key is counted by the database, and it has hooks.
pub mod parcel {
    use bento_core::{PendingEvents, aggregate};
    use sea_orm::entity::prelude::*;
    use sea_orm::{ActiveValue::Set, ConnectionTrait};

    #[aggregate(events(super::Packed), name = "parcel")]
    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "parcels")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub label: String,
        /// The default of the database, for a hook that leaves the column out.
        #[sea_orm(default_value = "here")]
        pub place: String,
        #[sea_orm(ignore)]
        pub scratch: u8,
        pub events: PendingEvents,
    }

    #[async_trait::async_trait]
    impl ActiveModelBehavior for ActiveModel {
        async fn before_save<C: ConnectionTrait>(
            mut self,
            _: &C,
            insert: bool,
        ) -> Result<Self, DbErr> {
            let label = self.label.take().unwrap_or_default();
            if label == "refused" {
                return Err(DbErr::Custom("refused by a hook".into()));
            }
            self.label = Set(format!(
                "{label}, {}",
                if insert { "inserted" } else { "updated" }
            ));
            if insert {
                self.not_set(Column::Place);
            }
            Ok(self)
        }

        async fn after_save<C: ConnectionTrait>(
            mut model: Model,
            _: &C,
            _: bool,
        ) -> Result<Model, DbErr> {
            model.raise(super::Packed {
                what: "seen by a hook".into(),
            });
            model.place.push('!');
            Ok(model)
        }
    }

    pub fn new(label: &str) -> Model {
        Model {
            id: 0,
            label: label.into(),
            place: "nowhere".into(),
            scratch: 7,
            events: PendingEvents::default(),
        }
    }
}

/// Its key has two parts, one of which may be 0.
pub mod shelf {
    use bento_core::{PendingEvents, aggregate};
    use sea_orm::entity::prelude::*;

    #[aggregate(events(super::Packed))]
    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "shelf")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub room: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i32,
        pub label: String,
        pub events: PendingEvents,
    }

    impl ActiveModelBehavior for ActiveModel {}

    pub fn new(room: &str, number: i32) -> Model {
        Model {
            room: room.into(),
            number,
            label: "empty".into(),
            events: PendingEvents::default(),
        }
    }
}

/// A table of a key only, which the application makes without `auto_increment = false`.
pub mod token {
    use bento_core::{PendingEvents, aggregate};
    use sea_orm::entity::prelude::*;

    #[aggregate(events(super::Packed))]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "token")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: Uuid,
        pub events: PendingEvents,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Its key is counted by the database, its events by its version.
pub mod account {
    use bento_core::{PendingEvents, aggregate};
    use sea_orm::entity::prelude::*;

    #[aggregate(events(super::Packed), name = "account")]
    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "account")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub balance: i64,
        #[aggregate(version)]
        #[sea_orm(column_name = "lock_version")]
        pub version: i32,
        pub events: PendingEvents,
    }

    impl ActiveModelBehavior for ActiveModel {}

    impl Model {
        pub fn open() -> Self {
            let mut account = Self {
                id: 0,
                balance: 0,
                version: 0,
                events: PendingEvents::default(),
            };
            account.pack("opened");
            account
        }

        pub fn deposit(&mut self, amount: i64) {
            self.balance += amount;
            self.pack(&format!("deposited {amount}"));
        }

        fn pack(&mut self, what: &str) {
            self.raise(super::Packed { what: what.into() });
        }
    }
}

/// The connection under test, and the tables of these aggregates.
pub async fn open(database: &TestDatabase) -> OutboxConnection {
    let schema = Schema::new(database.backend());
    for table in [
        schema.create_table_from_entity(parcel::Entity),
        schema.create_table_from_entity(shelf::Entity),
        schema.create_table_from_entity(token::Entity),
        schema.create_table_from_entity(account::Entity),
    ] {
        database.db.execute(&table).await.unwrap();
    }
    OutboxConnection::new(database.db.clone())
}

/// The payloads of the events in the outbox, each with the id of its aggregate and its number.
pub async fn packed(database: &TestDatabase) -> Vec<(String, String, Option<i64>)> {
    let what = |payload: String| payload.replace(r#"{"what":""#, "").replace(r#""}"#, "");
    database
        .outbox()
        .await
        .into_iter()
        .map(|row| (row.aggregate_id, what(row.payload), row.sequence))
        .collect()
}
