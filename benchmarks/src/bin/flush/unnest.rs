//! By hand with sqlx: one array for each column, one INSERT.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use bento_benchmarks::Result;
use bento_benchmarks::order::OrderPlaced;
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::outbox::INSERT_ORDER;

const INSERT_EVENTS: &str = "INSERT INTO bento_outbox (shard, event_id, event_type, schema_version,
        aggregate_type, aggregate_id, sequence, tenant_id, topic, routing_key, occurred_at,
        content_encoding, key_id, headers, payload)
    SELECT * FROM UNNEST ($1::int[], $2::uuid[], $3::text[], $4::int[], $5::text[], $6::text[],
        $7::bigint[], $8::text[], $9::text[], $10::text[], $11::timestamptz[],
        $12::text[], $13::text[], $14::bytea[], $15::bytea[])";

pub(crate) struct Unnest {
    pool: PgPool,
}

impl Unnest {
    pub(crate) fn new(pool: &PgPool) -> Self {
        Self { pool: pool.clone() }
    }

    pub(crate) async fn place_order(&self, events: usize) -> Result {
        let order_id = Uuid::now_v7();
        let mut tx = self.pool.begin().await?;
        sqlx::query(INSERT_ORDER)
            .bind(order_id)
            .bind("Meyer")
            .bind(4_200_i64)
            .execute(&mut *tx)
            .await?;
        let placed: Vec<_> = (0..events)
            .map(|number| OrderPlaced::sample(order_id, number))
            .collect();
        if !placed.is_empty() {
            Columns::of(order_id, &placed)?.insert(&mut tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

#[derive(Default)]
struct Columns {
    shards: Vec<i32>,
    event_ids: Vec<Uuid>,
    event_types: Vec<&'static str>,
    schema_versions: Vec<i32>,
    aggregate_types: Vec<&'static str>,
    aggregate_ids: Vec<String>,
    sequences: Vec<Option<i64>>,
    tenant_ids: Vec<Option<String>>,
    topics: Vec<Option<String>>,
    routing_keys: Vec<Option<String>>,
    occurred_at: Vec<DateTime<Utc>>,
    content_encodings: Vec<Option<String>>,
    key_ids: Vec<Option<String>>,
    headers: Vec<Option<Vec<u8>>>,
    payloads: Vec<Vec<u8>>,
}

impl Columns {
    fn of(order_id: Uuid, placed: &[OrderPlaced]) -> Result<Self> {
        let mut columns = Self::default();
        for event in placed {
            let aggregate_id = order_id.to_string();
            columns.shards.push(shard_of("order", &aggregate_id));
            columns.event_ids.push(Uuid::now_v7());
            columns.event_types.push("order.placed");
            columns.schema_versions.push(3);
            columns.aggregate_types.push("order");
            columns.aggregate_ids.push(aggregate_id);
            columns.sequences.push(None);
            columns.tenant_ids.push(None);
            columns.topics.push(None);
            columns.routing_keys.push(None);
            columns.occurred_at.push(Utc::now());
            columns.content_encodings.push(None);
            columns.key_ids.push(None);
            columns.headers.push(None);
            columns.payloads.push(serde_json::to_vec(event)?);
        }
        Ok(columns)
    }

    async fn insert(&self, tx: &mut sqlx::PgTransaction<'_>) -> Result {
        sqlx::query(INSERT_EVENTS)
            .bind(&self.shards)
            .bind(&self.event_ids)
            .bind(&self.event_types)
            .bind(&self.schema_versions)
            .bind(&self.aggregate_types)
            .bind(&self.aggregate_ids)
            .bind(&self.sequences)
            .bind(&self.tenant_ids)
            .bind(&self.topics)
            .bind(&self.routing_keys)
            .bind(&self.occurred_at)
            .bind(&self.content_encodings)
            .bind(&self.key_ids)
            .bind(&self.headers)
            .bind(&self.payloads)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }
}

/// Spreads aggregates over 16 shards, as the outbox wants it.
pub(crate) fn shard_of(aggregate_type: &str, aggregate_id: &str) -> i32 {
    let mut hasher = DefaultHasher::new();
    (aggregate_type, aggregate_id).hash(&mut hasher);
    (hasher.finish() % 16) as i32
}
