//! `#[aggregate]` on a SeaORM model: dense and classic, with one key and with several.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used
)]

use bento_core::{Aggregate, EventSourced, domain_event};
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, Database, DatabaseConnection, EntityLoaderTrait,
    EntityTrait, Schema, Set,
};

#[domain_event(schema = "order.placed", version = 1)]
#[derive(Debug)]
pub struct OrderPlaced {
    pub total: i64,
}

#[domain_event(schema = "line.added", version = 1)]
#[derive(Debug)]
pub struct LineAdded {
    pub article: String,
}

mod order {
    use bento_core::{PendingEvents, aggregate};
    use sea_orm::entity::prelude::*;

    /// The dense format, with a relation as a field.
    #[aggregate(events(super::OrderPlaced), name = "order")]
    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "orders")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub total: i64,
        #[sea_orm(has_many)]
        pub lines: HasMany<super::line::Entity>,
        #[sea_orm(ignore)]
        pub events: PendingEvents,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

mod line {
    use bento_core::{PendingEvents, aggregate};
    use sea_orm::entity::prelude::*;

    /// A composite key, named by the table, and the pending events ignored by the macro.
    #[aggregate(events(super::LineAdded))]
    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "order_line")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub order_id: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i32,
        pub article: String,
        #[sea_orm(belongs_to, from = "order_id", to = "id")]
        pub order: HasOne<super::order::Entity>,
        pub events: PendingEvents,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

mod parcel {
    use bento_core::{PendingEvents, aggregate};
    use sea_orm::entity::prelude::*;

    /// SeaORM's attribute above, so that a copy of the model with relations has `#[aggregate]` too.
    #[sea_orm::model]
    #[aggregate(events(super::OrderPlaced), name = "parcel")]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "parcel")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        #[aggregate(version)]
        pub version: i64,
        #[sea_orm(has_many)]
        pub lines: HasMany<super::item::Entity>,
        pub events: PendingEvents,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

mod item {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "parcel_item")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub parcel_id: i64,
        #[sea_orm(belongs_to, from = "parcel_id", to = "id")]
        pub parcel: HasOne<super::parcel::Entity>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

mod classic {
    use bento_core::{PendingEvents, aggregate};
    use sea_orm::entity::prelude::*;
    use serde::{Deserialize, Serialize};

    /// The classic format, serialised.
    #[aggregate(events(super::OrderPlaced), event_enum = QuoteEvent)]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize, Deserialize)]
    #[sea_orm(table_name = "quote")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: String,
        pub total: i64,
        pub events: PendingEvents,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

mod account {
    use bento_core::{PendingEvents, aggregate};
    use sea_orm::entity::prelude::*;

    /// Its history beside its row.
    #[aggregate(event_sourced, name = "account", events(super::OrderPlaced))]
    #[sea_orm::model]
    #[derive(Clone, Debug, Default, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "account")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub bank: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i64,
        #[aggregate(version)]
        pub version: i64,
        pub turnover: i64,
        pub events: PendingEvents,
    }

    impl ActiveModelBehavior for ActiveModel {}

    impl Model {
        fn apply(&mut self, event: &AccountEvent) {
            let AccountEvent::OrderPlaced(placed) = event;
            self.turnover += placed.total;
        }
    }
}

async fn database() -> DatabaseConnection {
    let db = Database::connect("sqlite::memory:").await.unwrap();
    let schema = Schema::new(db.get_database_backend());
    for table in [
        schema.create_table_from_entity(order::Entity),
        schema.create_table_from_entity(line::Entity),
        schema.create_table_from_entity(classic::Entity),
        schema.create_table_from_entity(parcel::Entity),
        schema.create_table_from_entity(item::Entity),
        schema.create_table_from_entity(account::Entity),
    ] {
        db.execute(&table).await.unwrap();
    }
    db
}

#[tokio::test]
async fn a_dense_model_is_stored_loaded_and_raises() {
    let db = database().await;
    let inserted = order::ActiveModel {
        total: Set(3),
        ..Default::default()
    }
    .insert(&db)
    .await
    .unwrap();
    let mut order = order::Entity::find_by_id(inserted.id)
        .one(&db)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (order::Model::TYPE, order.aggregate_key().into_text()),
        ("order", Some(inserted.id.to_string()))
    );
    order.raise(OrderPlaced { total: order.total });
    let [order::OrderEvent::OrderPlaced(placed)] = order.take().try_into().unwrap();
    assert_eq!(placed.total, 3);
}

#[tokio::test]
async fn a_model_with_two_key_columns_has_a_composite_id() {
    let db = database().await;
    let order = order::ActiveModel {
        total: Set(3),
        ..Default::default()
    }
    .insert(&db)
    .await
    .unwrap();
    let active = line::ActiveModel {
        order_id: Set(order.id),
        number: Set(2),
        article: Set("tea".into()),
    };
    let mut line = active.insert(&db).await.unwrap();
    assert_eq!(line::Model::TYPE, "order_line");
    let mut other = line.clone();
    other.number = 3;
    assert_ne!(
        line.aggregate_key().into_text(),
        other.aggregate_key().into_text()
    );
    line.raise(LineAdded {
        article: line.article.clone(),
    });
    let [line::OrderLineEvent::LineAdded(added)] = line.take().try_into().unwrap();
    assert_eq!(added.article, "tea");
}

#[tokio::test]
async fn relations_load_beside_the_pending_events() {
    let db = database().await;
    let order = order::ActiveModel {
        total: Set(3),
        ..Default::default()
    }
    .insert(&db)
    .await
    .unwrap();
    let active = line::ActiveModel {
        order_id: Set(order.id),
        number: Set(1),
        article: Set("tea".into()),
    };
    active.insert(&db).await.unwrap();
    let loaded = order::Entity::load()
        .filter_by_id(order.id)
        .with(line::Entity)
        .one(&db)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(loaded.lines[0].article, "tea");
}

#[tokio::test]
async fn a_model_is_stored_loaded_and_serialised_without_its_events() {
    let db = database().await;
    let active = classic::ActiveModel {
        number: Set("q1".into()),
        total: Set(3),
    };
    let mut quote = active.insert(&db).await.unwrap();
    quote.raise(OrderPlaced { total: 3 });
    assert_eq!(
        serde_json::to_string(&quote).unwrap(),
        r#"{"number":"q1","total":3}"#
    );
    assert_eq!(quote.aggregate_key().into_text().as_deref(), Some("q1"));
    let [classic::QuoteEvent::OrderPlaced(_)] = quote.take().try_into().unwrap();
}

#[tokio::test]
async fn a_model_with_the_attribute_of_sea_orm_above_is_one_aggregate() {
    let db = database().await;
    let mut parcel = parcel::ActiveModel {
        version: Set(0),
        ..Default::default()
    }
    .insert(&db)
    .await
    .unwrap();
    parcel.raise(OrderPlaced { total: 3 });
    let [parcel::ParcelEvent::OrderPlaced(_)] = parcel.take().try_into().unwrap();
    assert!(parcel.set_version(1) && parcel.version == 1);
    let items = item::ActiveModel {
        parcel_id: Set(parcel.id),
        ..Default::default()
    };
    items.insert(&db).await.unwrap();
    let loaded = parcel::Entity::load()
        .filter_by_id(parcel.id)
        .with(item::Entity)
        .one(&db)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(loaded.lines.len(), 1);
    let unsaved = parcel::Model {
        id: 0,
        version: 0,
        events: bento_core::PendingEvents::default(),
    };
    assert_eq!(unsaved.aggregate_key().into_text(), None);
    let parcels = bento_core::Registry::global()
        .aggregates()
        .filter(|known| known.aggregate_type == "parcel");
    assert_eq!(parcels.count(), 1);
}

#[tokio::test]
async fn an_event_sourced_model_is_stored_loaded_and_applies_what_it_raises() {
    let db = database().await;
    let active = account::ActiveModel {
        bank: Set("acme".into()),
        number: Set(7),
        version: Set(1),
        turnover: Set(3),
    };
    let mut account = active.insert(&db).await.unwrap();
    account.raise(OrderPlaced { total: 4 });
    assert_eq!(account.turnover, 7);
    let [account::AccountEvent::OrderPlaced(_)] = account.take().try_into().unwrap();
    let id = ("acme".to_owned(), 7);
    assert_eq!(account::Model::key_of(&id), account.aggregate_key());
    let mut blank = account::Model::with_id(id);
    assert_eq!((blank.version, blank.turnover), (0, 0));
    blank.version = 1;
    blank.turnover = 7;
    assert_eq!(blank, account);
}

#[test]
fn an_unsaved_model_has_no_id_yet() {
    let order = order::Model {
        id: 0,
        total: 1,
        events: bento_core::PendingEvents::default(),
    };
    assert_eq!(order.aggregate_key().into_text(), None);
}
