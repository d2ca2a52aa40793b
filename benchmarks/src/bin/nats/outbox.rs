//! The backlog: the same rows before every turn.

use bento_benchmarks::Result;
use bento_benchmarks::order::OrderPlaced;
use bento_core::Envelope;
use sqlx::{AssertSqlSafe, PgPool, Row as _};
use uuid::Uuid;

/// 16 shards as by default, 10,000 aggregates whose events are far apart, and the headers of a
/// traced request.
const SOURCE: &str = "CREATE TABLE bench_source AS
    SELECT (aggregate % 16)::int AS shard,
        ('0192f3a4-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid AS event_id,
        'order.placed' AS event_type, 3 AS schema_version, 'order' AS aggregate_type,
        'order-' || aggregate AS aggregate_id,
        i AS sequence, now() AS occurred_at, $2::bytea AS headers, $3::bytea AS payload
    FROM (SELECT i, (i * 7919 % 10000)::int AS aggregate
        FROM generate_series(1::bigint, $1::bigint) i) rows";

const COLUMNS: &str = "shard, event_id, event_type, schema_version, aggregate_type, aggregate_id, \
                       sequence, occurred_at, headers, payload";

const HEADERS: &[u8] =
    br#"{"correlation_id":"request-7","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}"#;

pub(crate) async fn create(pool: &PgPool, rows: u32) -> Result {
    bento_seaorm::migrate(&pool.clone().into()).await?;
    let payload = serde_json::to_vec(&OrderPlaced::sample(Uuid::now_v7(), 1))?;
    // A statement that creates a table takes no parameters: the bytes are their own literals.
    let literal = |bytes: &[u8]| {
        format!(
            "'\\x{}'",
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        )
    };
    let source = SOURCE
        .replace("$1", &rows.to_string())
        .replace("$2", &literal(HEADERS));
    sqlx::raw_sql(AssertSqlSafe(source.replace("$3", &literal(&payload))))
        .execute(pool)
        .await?;
    Ok(())
}

/// The backlog in the state before its first read: statistics and hint bits fresh, the
/// checkpoint behind it.
pub(crate) async fn fill(pool: &PgPool) -> Result {
    for sql in [
        "TRUNCATE bento_outbox".to_owned(),
        "CHECKPOINT".to_owned(),
        format!(
            "INSERT INTO bento_outbox ({COLUMNS}) SELECT {COLUMNS} FROM bench_source ORDER BY \
             sequence"
        ),
        "VACUUM (ANALYZE) bento_outbox".to_owned(),
    ] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await?;
    }
    Ok(())
}

/// The same events in memory.
pub(crate) async fn envelopes(pool: &PgPool) -> Result<Vec<Envelope>> {
    let sql = format!("SELECT {COLUMNS} FROM bench_source ORDER BY sequence");
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(pool).await?;
    let envelope = |row: sqlx::postgres::PgRow| -> sqlx::Result<Envelope> {
        let id: Uuid = row.try_get("event_id")?;
        let (time, payload) = (
            row.try_get("occurred_at")?,
            row.try_get::<Vec<u8>, _>("payload")?,
        );
        let mut envelope = Envelope::with_id(
            id.into(),
            row.try_get::<String, _>("event_type")?,
            3,
            time,
            payload,
        );
        envelope.aggregate_type = row.try_get::<String, _>("aggregate_type")?.into();
        envelope.aggregate_id = row.try_get("aggregate_id")?;
        envelope.sequence = row.try_get("sequence")?;
        envelope.headers = row.try_get::<Vec<u8>, _>("headers")?.into();
        Ok(envelope)
    };
    Ok(rows
        .into_iter()
        .map(envelope)
        .collect::<sqlx::Result<_>>()?)
}
