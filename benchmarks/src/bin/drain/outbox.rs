//! The backlog: the same rows before every turn, and proof afterwards that each was published once
//! and is gone.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bento_benchmarks::Result;
use bento_benchmarks::order::OrderPlaced;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgPool, Row as _};
use uuid::Uuid;

/// Bento's table, made by its migration.
pub(crate) const TABLE: &str = "bento_outbox";

/// The usual outbox: the same columns, and a status with a partial index.
pub(crate) const CLAIM_TABLE: &str = "claim_outbox";

/// The columns that every reader reads.
pub(crate) const READ: &str = "position, event_id, event_type, schema_version, aggregate_type, \
                               aggregate_id, sequence, tenant_id, topic, routing_key, \
                               occurred_at, content_encoding, key_id, headers, payload";

/// 16 shards as by default, 10,000 aggregates whose events are far apart; the sequence counts the
/// rows.
const SOURCE: &str = "CREATE TABLE bench_source AS
    SELECT aggregate % 16 AS shard,
        ('0192f3a4-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid AS event_id,
        'order.placed' AS event_type, 3 AS schema_version, 'order' AS aggregate_type,
        'order-' || aggregate AS aggregate_id,
        i AS sequence, now() AS occurred_at, $2::bytea AS payload
    FROM (SELECT i, (i * 7919 % 10000)::int AS aggregate
        FROM generate_series(1::bigint, $1::bigint) i) rows";

const COLUMNS: &str = "shard, event_id, event_type, schema_version, aggregate_type, aggregate_id, \
                       sequence, occurred_at, payload";

const CLAIM_DDL: &str = "
    CREATE TABLE claim_outbox (LIKE bento_outbox);
    ALTER TABLE claim_outbox ALTER COLUMN position DROP DEFAULT;
    ALTER TABLE claim_outbox ALTER COLUMN position ADD GENERATED ALWAYS AS IDENTITY,
        ADD PRIMARY KEY (position), ADD UNIQUE (event_id),
        ADD COLUMN status text NOT NULL DEFAULT 'pending',
        ADD COLUMN claimed_until timestamptz, ADD COLUMN sent_at timestamptz;
    CREATE INDEX claim_outbox_pending ON claim_outbox (position) WHERE status = 'pending'";

/// The outbox that is drained.
pub(crate) struct Outbox {
    pub(crate) rows: i64,
    pub(crate) batch: usize,
}

impl Outbox {
    pub(crate) async fn create(&self, pool: &PgPool) -> Result {
        bento_seaorm::migrate(&pool.clone().into()).await?;
        sqlx::raw_sql(CLAIM_DDL).execute(pool).await?;
        let payload = serde_json::to_vec(&OrderPlaced::sample(Uuid::now_v7(), 1))?;
        // A statement that creates a table takes no parameters: the payload is its own literal.
        let source = SOURCE
            .replace("$1", &self.rows.to_string())
            .replace("$2", &format!("'\\x{}'", hex(&payload)));
        sqlx::raw_sql(AssertSqlSafe(source)).execute(pool).await?;
        Ok(())
    }

    /// The backlog in the state in which nobody has read it: statistics and hint bits fresh, the
    /// checkpoint behind it.
    pub(crate) async fn fill(&self, table: &str, pool: &PgPool) -> Result {
        for sql in [
            "TRUNCATE bento_outbox, claim_outbox".to_owned(),
            "CHECKPOINT".to_owned(),
            format!(
                "INSERT INTO {table} ({COLUMNS}) SELECT {COLUMNS} FROM bench_source ORDER BY \
                 sequence"
            ),
            format!("VACUUM (ANALYZE) {table}"),
        ] {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await?;
        }
        Ok(())
    }

    /// Each row was published once, and none is left to be published.
    pub(crate) async fn verify(&self, table: &str, published: &Published, pool: &PgPool) -> Result {
        let pending = if table == CLAIM_TABLE {
            "WHERE status <> 'sent'"
        } else {
            ""
        };
        let sql = format!("SELECT count(*) FROM {table} {pending}");
        let left: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(pool)
            .await?;
        let (events, sequences) = (
            published.events.load(Ordering::Relaxed),
            published.sequences.load(Ordering::Relaxed),
        );
        let complete =
            events == self.rows.unsigned_abs() && sequences == self.rows * (self.rows + 1) / 2;
        if left != 0 || !complete {
            return Err(format!(
                "{events} of {} events were published, {left} are left in {table}",
                self.rows
            )
            .into());
        }
        Ok(())
    }
}

/// The publisher that does nothing but keep count.
#[derive(Debug, Default)]
pub(crate) struct Published {
    events: AtomicU64,
    sequences: AtomicI64,
}

impl Published {
    /// Takes a batch; `sequences` are those of its events.
    pub(crate) fn add(&self, sequences: impl Iterator<Item = i64>) {
        let (events, sum) = sequences.fold((0, 0), |(events, sum), sequence| {
            (events + 1, sum + sequence)
        });
        self.events.fetch_add(events, Ordering::Relaxed);
        self.sequences.fetch_add(sum, Ordering::Relaxed);
    }
}

/// An event as a reader written by hand has it in memory.
#[derive(Debug)]
#[expect(
    dead_code,
    reason = "read from the database and handed to a publisher that looks at little of it"
)]
pub(crate) struct Event {
    pub(crate) position: i64,
    pub(crate) event_id: Uuid,
    pub(crate) event_type: String,
    pub(crate) schema_version: i32,
    pub(crate) aggregate_type: String,
    pub(crate) aggregate_id: String,
    pub(crate) sequence: Option<i64>,
    pub(crate) tenant_id: Option<String>,
    pub(crate) topic: Option<String>,
    pub(crate) routing_key: Option<String>,
    pub(crate) occurred_at: chrono::DateTime<chrono::Utc>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) key_id: Option<String>,
    pub(crate) headers: Option<Vec<u8>>,
    pub(crate) payload: Vec<u8>,
}

impl Event {
    /// Reads the columns [`READ`].
    pub(crate) fn read(row: PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            position: row.try_get(0)?,
            event_id: row.try_get(1)?,
            event_type: row.try_get(2)?,
            schema_version: row.try_get(3)?,
            aggregate_type: row.try_get(4)?,
            aggregate_id: row.try_get(5)?,
            sequence: row.try_get(6)?,
            tenant_id: row.try_get(7)?,
            topic: row.try_get(8)?,
            routing_key: row.try_get(9)?,
            occurred_at: row.try_get(10)?,
            content_encoding: row.try_get(11)?,
            key_id: row.try_get(12)?,
            headers: row.try_get(13)?,
            payload: row.try_get(14)?,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
