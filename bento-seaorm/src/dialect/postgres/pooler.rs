//! A connection pooler in front of PostgreSQL that does not follow prepared statements.

use std::time::Duration;

use bento_relay::telemetry::TARGET_RELAY;
use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::{self, PgPool, Row as _};
use sea_orm::{DatabaseConnection, DatabaseConnectionType};
use tokio::time::timeout;

/// The longest time that is spent on looking for a pooler.
const LOOK: Duration = Duration::from_secs(2);
/// A statement that is prepared to see under which name the server knows it.
const PREPARED: &str = "SELECT 1 AS bento_is_prepared";

/// The advice for each place that notices such a pooler.
pub(super) const ADVICE: &str = "the connection leads through a pooler that does not follow \
                                 prepared statements, so a statement may fail or be taken for \
                                 another one; use pgbouncer 1.21 or newer with \
                                 `max_prepared_statements = 200` and `ignore_startup_parameters = \
                                 extra_float_digits`, or its session mode, and leave \
                                 `statement_cache_capacity` at its default";

type Connection = PoolConnection<sqlx::Postgres>;

/// Warns of a pooler that hands the transactions of one connection to several sessions and does not
/// follow prepared statements.
///
/// It needs two connections, and sees nothing if the pooler keeps each of them on one session by
/// chance.
pub(super) async fn warn(db: &DatabaseConnection) {
    if !matches!(
        db.inner,
        DatabaseConnectionType::SqlxPostgresPoolConnection(_)
    ) {
        return;
    }
    let pool = db.get_postgres_connection_pool();
    if pool.options().get_max_connections() < 2 {
        return;
    }
    // A failure has other reasons, which the next call of the store reports.
    if let Ok(Ok(true)) = timeout(LOOK, loses_prepared_statements(pool)).await {
        tracing::warn!(target: TARGET_RELAY, "{ADVICE}");
    }
}

async fn loses_prepared_statements(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let (mut one, mut other) = (pool.acquire().await?, pool.acquire().await?);
    // A session that is left in a transaction must not go back to the pool.
    one.close_on_drop();
    other.close_on_drop();
    if !changes_session(&mut one, &mut other).await? {
        return Ok(false);
    }
    sqlx::raw_sql("BEGIN").execute(&mut *one).await?;
    let prepared = sqlx::query(PREPARED).fetch_one(&mut *one).await;
    let names = format!("SELECT name FROM pg_prepared_statements WHERE statement = '{PREPARED}'");
    let names = match prepared {
        Ok(_) => {
            sqlx::raw_sql(sqlx::AssertSqlSafe(names))
                .fetch_all(&mut *one)
                .await?
        }
        // The name is known from another connection.
        Err(_) => return Ok(true),
    };
    // A pooler that follows them gives them names of its own.
    Ok(names.iter().any(|name| {
        name.try_get::<String, _>(0)
            .is_ok_and(|name| name.starts_with("sqlx_s_"))
    }))
}

/// True if a transaction of one connection runs on the session that the other one has used.
async fn changes_session(
    one: &mut Connection,
    other: &mut Connection,
) -> Result<bool, sqlx::Error> {
    sqlx::raw_sql("BEGIN").execute(&mut **one).await?;
    let first = session(one).await?;
    let second = session(other).await?;
    sqlx::raw_sql("COMMIT").execute(&mut **one).await?;
    sqlx::raw_sql("BEGIN").execute(&mut **other).await?;
    let changed = session(other).await? != second || session(one).await? != first;
    sqlx::raw_sql("COMMIT").execute(&mut **other).await?;
    Ok(changed)
}

async fn session(connection: &mut Connection) -> Result<i32, sqlx::Error> {
    sqlx::raw_sql("SELECT pg_backend_pid()")
        .fetch_one(&mut **connection)
        .await?
        .try_get(0)
}
