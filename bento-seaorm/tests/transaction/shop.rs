//! The domain of the tests: orders with items, on SeaORM entities, and how many of their rows there
//! are.

use bento_core::{PendingEvents, aggregate, domain_event};
use bento_seaorm::OutboxConnection;
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue::Set, ConnectionTrait, DatabaseConnection, DbBackend, Schema};

use crate::support::TestDatabase;

#[domain_event(schema = "order.placed", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct OrderPlaced {
    pub total: i64,
}

#[domain_event(schema = "order.paid", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct OrderPaid {
    pub order_id: i64,
}

/// Raised free of any aggregate.
#[domain_event(schema = "shop.opened", version = 1)]
#[derive(Clone, Debug, PartialEq)]
pub struct ShopOpened {
    pub name: String,
}

#[aggregate(events(OrderPlaced, OrderPaid))]
#[derive(Debug)]
pub struct Order {
    pub id: i64,
    pub total: i64,
    pub events: PendingEvents,
}

impl Order {
    /// An order that has raised `order.placed`.
    pub fn place(id: i64) -> Self {
        let mut order = Self {
            id,
            total: 42,
            events: PendingEvents::default(),
        };
        order.raise(OrderPlaced { total: 42 });
        order
    }

    pub fn pay(&mut self) {
        self.raise(OrderPaid { order_id: self.id });
    }

    pub async fn insert(&self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        let row = order::ActiveModel {
            id: Set(self.id),
            total: Set(self.total),
        };
        order::Entity::insert(row)
            .exec_without_returning(db)
            .await
            .map(|_| ())
    }
}

pub mod order {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "orders")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i64,
        pub total: i64,
        #[sea_orm(has_many)]
        pub items: HasMany<super::item::Entity>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod item {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "items")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub order_id: i64,
        #[sea_orm(unique)]
        pub name: String,
        #[sea_orm(belongs_to, from = "order_id", to = "id")]
        pub order: HasOne<super::order::Entity>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// The connection under test, and the tables of the domain.
pub async fn open(database: &TestDatabase) -> OutboxConnection {
    create_tables(&database.db).await;
    OutboxConnection::new(database.db.clone())
}

pub async fn create_tables(db: &DatabaseConnection) {
    let schema = Schema::new(db.get_database_backend());
    db.execute(&schema.create_table_from_entity(order::Entity))
        .await
        .unwrap();
    db.execute(&schema.create_table_from_entity(item::Entity))
        .await
        .unwrap();
}

/// The ids of the orders in the database.
pub async fn orders(database: &TestDatabase) -> Vec<i64> {
    use sea_orm::{EntityTrait, QueryOrder};
    let rows = order::Entity::find()
        .order_by_asc(order::Column::Id)
        .all(&database.db)
        .await
        .unwrap();
    rows.into_iter().map(|row| row.id).collect()
}

/// True if there is neither an order nor an event.
pub async fn is_untouched(database: &TestDatabase) -> bool {
    orders(database).await.is_empty() && database.outbox().await.is_empty()
}

/// A statement that the database refuses, whatever the back end.
pub const REFUSED: &str = "SELECT * FROM no_such_table";

/// Takes some time in the server: for statements that are to be cancelled.
pub fn slow(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Postgres => "SELECT pg_sleep(1)",
        DbBackend::MySql => "SELECT SLEEP(1)",
        _ => {
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 3000000) \
             SELECT max(x) FROM n"
        }
    }
}
