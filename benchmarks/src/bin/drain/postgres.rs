//! The outbox on PostgreSQL.

mod claim_and_mark;
mod plain_loop;

use bento_benchmarks::Result;
use bento_benchmarks::cost::Meter;
use bento_benchmarks::database::{self, PostgresDatabase};
use bento_benchmarks::order::OrderPlaced;
use sea_orm::DatabaseConnection;
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::outbox::{Backlog, Contender, Outbox, Published, TABLE};

/// The usual outbox: the same columns, and a status with a partial index.
const CLAIM_TABLE: &str = "claim_outbox";

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

const COLUMNS: &str = "shard, event_id, event_type, schema_version, aggregate_type, \
     aggregate_id, sequence, occurred_at, payload";

const CLAIM_DDL: &str = "
    CREATE TABLE claim_outbox (LIKE bento_outbox);
    ALTER TABLE claim_outbox ALTER COLUMN position DROP DEFAULT;
    ALTER TABLE claim_outbox ALTER COLUMN position ADD GENERATED ALWAYS AS IDENTITY,
        ADD PRIMARY KEY (position), ADD UNIQUE (event_id),
        ADD COLUMN status text NOT NULL DEFAULT 'pending',
        ADD COLUMN claimed_until timestamptz, ADD COLUMN sent_at timestamptz;
    CREATE INDEX claim_outbox_pending ON claim_outbox (position) WHERE status = 'pending'";

/// The connections of a relay: one for each of its workers by default.
const CONNECTIONS: u32 = 4;

/// The database of a run, with one connection for what is written by hand, and those of a relay.
#[derive(Debug)]
pub(crate) struct Postgres {
    pool: PgPool,
    relay: PgPool,
    batch: usize,
}

impl Postgres {
    pub(crate) async fn create(database: &PostgresDatabase, backlog: Backlog) -> Result<Self> {
        let (pool, relay) = (
            database.pool(1, "on").await?,
            database.pool(CONNECTIONS, "on").await?,
        );
        bento_seaorm::migrate(&pool.clone().into()).await?;
        sqlx::raw_sql(CLAIM_DDL).execute(&pool).await?;
        let payload = serde_json::to_vec(&OrderPlaced::sample(Uuid::now_v7(), 1))?;
        // A statement that creates a table takes no parameters: the payload is its own literal.
        let payload = format!("'\\x{}'", hex(&payload));
        let source = SOURCE
            .replace("$1", &backlog.rows.to_string())
            .replace("$2", &payload);
        sqlx::raw_sql(AssertSqlSafe(source)).execute(&pool).await?;
        Ok(Self {
            pool,
            relay,
            batch: backlog.batch,
        })
    }
}

impl Outbox for Postgres {
    const CONTENDERS: &'static [Contender] = &[
        Contender::OneWorker,
        Contender::Bento,
        Contender::PlainLoop,
        Contender::ClaimAndMark,
    ];

    async fn version(&self) -> Result<String> {
        database::version(&self.pool).await
    }

    /// Statistics and hint bits are fresh.
    async fn fill(&self, contender: Contender) -> Result {
        let table = table(contender);
        for sql in [
            "TRUNCATE bento_outbox, claim_outbox".to_owned(),
            "CHECKPOINT".to_owned(),
            format!(
                "INSERT INTO {table} ({COLUMNS}) SELECT {COLUMNS} FROM bench_source ORDER BY \
                     sequence"
            ),
            format!("VACUUM (ANALYZE) {table}"),
        ] {
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&self.pool)
                .await?;
        }
        Ok(())
    }

    fn relay(&self) -> DatabaseConnection {
        self.relay.clone().into()
    }

    /// All connections of the relay are there: one that came later would not be counted.
    async fn meter(&self) -> Result<Meter> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(self.relay.acquire().await?);
        }
        Meter::of(&self.pool).await
    }

    async fn drain_by_hand(&self, contender: Contender, published: &Published) -> Result {
        match contender {
            Contender::ClaimAndMark => {
                claim_and_mark::drain(&self.pool, self.batch, published).await
            }
            _ => plain_loop::drain(&self.pool, self.batch, published).await,
        }
    }

    async fn left(&self, contender: Contender) -> Result<i64> {
        let pending = if contender == Contender::ClaimAndMark {
            "WHERE status <> 'sent'"
        } else {
            ""
        };
        let sql = format!("SELECT count(*) FROM {} {pending}", table(contender));
        Ok(sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&self.pool)
            .await?)
    }
}

fn table(contender: Contender) -> &'static str {
    if contender == Contender::ClaimAndMark {
        CLAIM_TABLE
    } else {
        TABLE
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
