//! By hand with SeaORM: an entity for the outbox, one `insert_many`.

use bento_benchmarks::Result;
use bento_benchmarks::order::OrderPlaced;
use chrono::Utc;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, EntityTrait, NotSet, Set, Statement,
    TransactionTrait,
};
use sqlx::PgPool;
use uuid::Uuid;

use crate::outbox::INSERT_ORDER;
use crate::unnest::shard_of;

pub(crate) struct InsertMany {
    database: DatabaseConnection,
}

impl InsertMany {
    pub(crate) fn new(pool: &PgPool) -> Self {
        Self {
            database: pool.clone().into(),
        }
    }

    pub(crate) async fn place_order(&self, events: usize) -> Result {
        let order_id = Uuid::now_v7();
        let tx = self.database.begin().await?;
        tx.execute_raw(insert_order(order_id)).await?;
        let placed: Vec<_> = (0..events)
            .map(|number| OrderPlaced::sample(order_id, number))
            .collect();
        if !placed.is_empty() {
            let rows = placed
                .iter()
                .map(|event| row(order_id, event))
                .collect::<Result<Vec<_>>>()?;
            outbox::Entity::insert_many(rows)
                .exec_without_returning(&tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// The business row as SeaORM sends it.
pub(crate) fn insert_order(order_id: Uuid) -> Statement {
    let values = [order_id.into(), "Meyer".into(), 4_200_i64.into()];
    Statement::from_sql_and_values(DbBackend::Postgres, INSERT_ORDER, values)
}

fn row(order_id: Uuid, event: &OrderPlaced) -> Result<outbox::ActiveModel> {
    let aggregate_id = order_id.to_string();
    Ok(outbox::ActiveModel {
        shard: Set(shard_of("order", &aggregate_id)),
        position: NotSet,
        event_id: Set(Uuid::now_v7()),
        event_type: Set("order.placed".to_owned()),
        schema_version: Set(3),
        aggregate_type: Set("order".to_owned()),
        aggregate_id: Set(aggregate_id),
        sequence: Set(None),
        tenant_id: Set(None),
        topic: Set(None),
        routing_key: Set(None),
        occurred_at: Set(Utc::now()),
        content_encoding: Set(None),
        key_id: Set(None),
        headers: Set(None),
        payload: Set(serde_json::to_vec(event)?),
    })
}

#[allow(
    unreachable_pub,
    reason = "the derive's own items are public, and name these"
)]
mod outbox {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "bento_outbox")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub shard: i32,
        #[sea_orm(primary_key)]
        pub position: i64,
        pub event_id: Uuid,
        pub event_type: String,
        pub schema_version: i32,
        pub aggregate_type: String,
        pub aggregate_id: String,
        pub sequence: Option<i64>,
        pub tenant_id: Option<String>,
        pub topic: Option<String>,
        pub routing_key: Option<String>,
        pub occurred_at: ChronoDateTimeUtc,
        pub content_encoding: Option<String>,
        pub key_id: Option<String>,
        pub headers: Option<Vec<u8>>,
        pub payload: Vec<u8>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
