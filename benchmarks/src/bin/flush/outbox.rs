//! The tables that all contenders write, and whether they really did.

use bento_benchmarks::Result;
use sqlx::PgPool;

/// The business row of every contender, written by the same statement: what the mapping of the row
/// costs is not the question.
pub(crate) const INSERT_ORDER: &str =
    "INSERT INTO bench_order (id, customer, total_cents) VALUES ($1, $2, $3)";

const CONTENDERS: u64 = 3;

/// Makes Bento's outbox by its own migration, and the table of the business rows.
pub(crate) async fn create(pool: &PgPool) -> Result {
    bento_seaorm::migrate(&pool.clone().into()).await?;
    let sql = "CREATE TABLE bench_order (id uuid PRIMARY KEY, customer text NOT NULL, total_cents \
               bigint NOT NULL)";
    sqlx::query(sql).execute(pool).await?;
    Ok(())
}

/// The number of transactions with `events` events each that make one burst.
pub(crate) fn burst(events: usize) -> u32 {
    match events {
        0..100 => 20,
        100..1000 => 5,
        _ => 1,
    }
}

/// Counts what was written, and empties the tables for the next pass.
pub(crate) async fn verify_and_empty(pool: &PgPool, sizes: &[usize], rounds: usize) -> Result {
    let bursts = CONTENDERS * (rounds as u64 + 1);
    let events: u64 = sizes
        .iter()
        .map(|events| bursts * u64::from(burst(*events)) * *events as u64)
        .sum();
    let orders: u64 = sizes
        .iter()
        .map(|events| bursts * u64::from(burst(*events)))
        .sum();
    for (table, expected) in [("bento_outbox", events), ("bench_order", orders)] {
        let sql = format!("SELECT count(*) FROM {table}");
        let found: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(pool)
            .await?;
        if found.unsigned_abs() != expected {
            return Err(format!(
                "{table} holds {found} rows instead of {expected}: the times mean nothing"
            )
            .into());
        }
    }
    sqlx::raw_sql("TRUNCATE bento_outbox, bench_order")
        .execute(pool)
        .await?;
    Ok(())
}
