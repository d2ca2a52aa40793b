//! The outbox in a file of SQLite.

mod plain_loop;

use bento_benchmarks::Result;
use bento_benchmarks::cost::Meter;
use bento_benchmarks::database::SqliteFile;
use bento_benchmarks::order::OrderPlaced;
use chrono::Utc;
use sea_orm::DatabaseConnection;
use sqlx::SqlitePool;
use uuid::Uuid;

use crate::outbox::{Backlog, Contender, Outbox, Published};

/// 16 shards as by default, 10,000 aggregates whose events are far apart; the sequence counts the
/// rows.
const FILL: &str = "
    WITH RECURSIVE numbers (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < ?1),
        rows AS (SELECT i, i * 7919 % 10000 AS aggregate FROM numbers)
    INSERT INTO bento_outbox (shard, event_id, event_type, schema_version, aggregate_type,
        aggregate_id, sequence, occurred_at, payload)
    SELECT aggregate % 16, unhex(printf('0192f3a4000070008000%012x', i)), 'order.placed', 3,
        'order', 'order-' || aggregate, i, ?2, ?3
    FROM rows ORDER BY i";

/// One connection that writes the backlog, one for what is written by hand, and one of a relay.
#[derive(Debug)]
pub(crate) struct Sqlite {
    writer: SqlitePool,
    pool: SqlitePool,
    relay: SqlitePool,
    backlog: Backlog,
    payload: Vec<u8>,
}

impl Sqlite {
    pub(crate) async fn create(file: &SqliteFile, backlog: Backlog) -> Result<Self> {
        let (writer, pool, relay) = (
            file.pool(1).await?,
            file.pool(1).await?,
            file.pool(1).await?,
        );
        bento_seaorm::migrate(&writer.clone().into()).await?;
        let payload = serde_json::to_vec(&OrderPlaced::sample(Uuid::now_v7(), 1))?;
        Ok(Self {
            writer,
            pool,
            relay,
            backlog,
            payload,
        })
    }
}

impl Outbox for Sqlite {
    const CONTENDERS: &'static [Contender] =
        &[Contender::OneWorker, Contender::Bento, Contender::PlainLoop];

    async fn version(&self) -> Result<String> {
        let version: String = sqlx::query_scalar("SELECT sqlite_version()")
            .fetch_one(&self.pool)
            .await?;
        Ok(format!("SQLite {version}"))
    }

    async fn fill(&self, _contender: Contender) -> Result {
        let fill = sqlx::query(FILL)
            .bind(self.backlog.rows)
            .bind(Utc::now())
            .bind(self.payload.as_slice());
        fill.execute(&self.writer).await?;
        sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    fn relay(&self) -> DatabaseConnection {
        self.relay.clone().into()
    }

    /// The database works in this process.
    async fn meter(&self) -> Result<Meter> {
        Ok(Meter::of_sessions(Vec::new()))
    }

    async fn drain_by_hand(&self, _contender: Contender, published: &Published) -> Result {
        plain_loop::drain(&self.pool, self.backlog.batch, published).await
    }

    async fn left(&self, _contender: Contender) -> Result<i64> {
        Ok(sqlx::query_scalar("SELECT count(*) FROM bento_outbox")
            .fetch_one(&self.pool)
            .await?)
    }
}
