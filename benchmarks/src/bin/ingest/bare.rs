//! The loop by hand: a batch, one INSERT, one acknowledgement. It has no lease and no cursor, knows
//! no event that came before, takes every event as it is, and must be alone.

use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use bento_benchmarks::Result;
use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use sqlx::PgPool;
use uuid::Uuid;

use crate::stream::Stream;

const INSERT: &str = "INSERT INTO bento_inbox (shard, event_id, event_type, schema_version, \
                      aggregate_type, aggregate_id, sequence, occurred_at, headers, payload) \
                      SELECT * FROM unnest($1::int[], $2::uuid[], $3::text[], $4::int[], \
                      $5::text[], $6::text[], $7::bigint[], $8::timestamptz[], $9::bytea[], \
                      $10::bytea[])";

/// The columns of a batch.
#[derive(Default)]
struct Columns {
    shard: Vec<i32>,
    event_id: Vec<Uuid>,
    event_type: Vec<String>,
    schema_version: Vec<i32>,
    aggregate_type: Vec<String>,
    aggregate_id: Vec<String>,
    sequence: Vec<i64>,
    occurred_at: Vec<DateTime<Utc>>,
    headers: Vec<Vec<u8>>,
    payload: Vec<Vec<u8>>,
}

impl Columns {
    fn push(&mut self, message: &async_nats::Message) -> Result {
        let headers = message.headers.as_ref().ok_or("headers are missing")?;
        let get = |name: &str| {
            let value = headers.get(name).map(|value| value.as_str());
            value.ok_or_else(|| format!("`{name}` is missing"))
        };
        let aggregate_id = get("ce-subject")?;
        let hash = aggregate_id.bytes().fold(0u32, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(byte.into())
        });
        self.shard.push((hash % 16) as i32);
        self.event_id.push(get("ce-id")?.parse()?);
        self.event_type.push(get("ce-type")?.to_owned());
        self.schema_version.push(get("ce-schemaversion")?.parse()?);
        self.aggregate_type
            .push(get("ce-aggregatetype")?.to_owned());
        self.aggregate_id.push(aggregate_id.to_owned());
        self.sequence.push(get("ce-aggregatesequence")?.parse()?);
        self.occurred_at
            .push(DateTime::parse_from_rfc3339(get("ce-time")?)?.to_utc());
        let kept = serde_json::json!({
            "correlation_id": get("ce-correlationid")?,
            "traceparent": get("ce-traceparent")?,
        });
        self.headers.push(kept.to_string().into_bytes());
        self.payload.push(message.payload.to_vec());
        Ok(())
    }

    async fn insert(self, pool: &PgPool) -> Result {
        sqlx::query(INSERT)
            .bind(self.shard)
            .bind(self.event_id)
            .bind(self.event_type)
            .bind(self.schema_version)
            .bind(self.aggregate_type)
            .bind(self.aggregate_id)
            .bind(self.sequence)
            .bind(self.occurred_at)
            .bind(self.headers)
            .bind(self.payload)
            .execute(pool)
            .await?;
        Ok(())
    }
}

pub(crate) async fn ingest(pool: &PgPool, stream: &Stream, rows: u32, batch: usize) -> Result {
    let config = pull::Config {
        durable_name: Some("ingest".to_owned()),
        ack_policy: AckPolicy::All,
        max_ack_pending: -1,
        ..pull::Config::default()
    };
    let own = stream.context().get_stream(stream.name()).await?;
    let consumer: PullConsumer = own.create_consumer(config).await?;
    let mut stored = 0;
    while stored < rows {
        let fetch = consumer.fetch().max_messages(batch);
        let mut messages = fetch.expires(Duration::from_secs(5)).messages().await?;
        let (mut columns, mut last) = (Columns::default(), None);
        while let Some(message) = messages.next().await {
            let message = message?;
            columns.push(&message.message)?;
            stored += 1;
            last = Some(message);
        }
        let last = last.ok_or("the stream has no more messages")?;
        columns.insert(pool).await?;
        last.double_ack_with(AckKind::Ack).await?;
    }
    Ok(())
}
