//! The outbox on MariaDB.

mod plain_loop;

use bento_benchmarks::Result;
use bento_benchmarks::cost::Meter;
use bento_benchmarks::database::MySqlDatabase;
use bento_benchmarks::order::OrderPlaced;
use sea_orm::DatabaseConnection;
use sqlx::{AssertSqlSafe, MySqlPool};
use uuid::Uuid;

use crate::outbox::{Backlog, Contender, Outbox, Published};

/// The connections of a relay: one for each of its workers by default.
const CONNECTIONS: u32 = 4;

/// 16 shards as by default, 10,000 aggregates whose events are far apart; the sequence counts the
/// rows.
const SOURCE: &str = "
    INSERT INTO bench_source
    WITH RECURSIVE numbers (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < ?)
    SELECT aggregate % 16, UNHEX(CONCAT('0192f3a4000070008000', LPAD(HEX(i), 12, '0')))),
        'order.placed', 3, 'order', CONCAT('order-', aggregate), i, UTC_TIMESTAMP(6), ?
    FROM (SELECT i, i * 7919 % 10000 AS aggregate FROM numbers) numbered";

const COLUMNS: &str = "shard, event_id, event_type, schema_version, aggregate_type, \
     aggregate_id, sequence, occurred_at, payload";

/// The database of a run, with one connection for what is written by hand, and those of a relay.
#[derive(Debug)]
pub(crate) struct MySql {
    pool: MySqlPool,
    relay: MySqlPool,
    batch: usize,
}

impl MySql {
    pub(crate) async fn create(database: &MySqlDatabase, backlog: Backlog) -> Result<Self> {
        let (pool, relay) = (database.pool(1).await?, database.pool(CONNECTIONS).await?);
        bento_seaorm::migrate(&pool.clone().into()).await?;
        let payload = serde_json::to_vec(&OrderPlaced::sample(Uuid::now_v7(), 1))?;
        let empty = format!(
            "CREATE TABLE bench_source AS SELECT {COLUMNS} FROM bento_outbox \
                             LIMIT 0"
        );
        // A recursion ends after 1,000 steps otherwise.
        let unlimited = "SET max_recursive_iterations = 4294967295".to_owned();
        for sql in [unlimited, empty] {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await?;
        }
        sqlx::query(SOURCE)
            .bind(backlog.rows)
            .bind(payload)
            .execute(&pool)
            .await?;
        Ok(Self {
            pool,
            relay,
            batch: backlog.batch,
        })
    }
}

impl Outbox for MySql {
    const CONTENDERS: &'static [Contender] =
        &[Contender::OneWorker, Contender::Bento, Contender::PlainLoop];

    async fn version(&self) -> Result<String> {
        Ok(sqlx::query_scalar("SELECT version()")
            .fetch_one(&self.pool)
            .await?)
    }

    async fn fill(&self, _contender: Contender) -> Result {
        for sql in [
            "TRUNCATE bento_outbox".to_owned(),
            format!(
                "INSERT INTO bento_outbox ({COLUMNS}) SELECT {COLUMNS} FROM bench_source \
                     ORDER BY sequence"
            ),
            "ANALYZE TABLE bento_outbox".to_owned(),
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

    /// The server's threads behind its sessions. Those that write in the background belong to
    /// no session.
    async fn meter(&self) -> Result<Meter> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(self.relay.acquire().await?);
        }
        let sql = "SELECT CAST(tid AS SIGNED) FROM information_schema.processlist WHERE db = \
                   database()";
        let threads: Vec<i64> = sqlx::query_scalar(sql).fetch_all(&self.pool).await?;
        Ok(Meter::of_sessions(
            threads
                .into_iter()
                .map(i32::try_from)
                .collect::<std::result::Result<_, _>>()?,
        ))
    }

    async fn drain_by_hand(&self, _contender: Contender, published: &Published) -> Result {
        plain_loop::drain(&self.pool, self.batch, published).await
    }

    async fn left(&self, _contender: Contender) -> Result<i64> {
        Ok(sqlx::query_scalar("SELECT count(*) FROM bento_outbox")
            .fetch_one(&self.pool)
            .await?)
    }
}
