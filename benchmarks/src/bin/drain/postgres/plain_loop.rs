//! By hand with sqlx, for one process that is alone and never fails: read a batch in order,
//! publish, delete it.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::LazyLock;

use bento_benchmarks::Result;
use sqlx::{AssertSqlSafe, PgPool};

use crate::event::{Event, READ};
use crate::outbox::{Published, SHARDS, TABLE};

static SELECT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {READ} FROM {TABLE} WHERE shard = $1 ORDER BY position LIMIT \
                              $2"
    )
});

const DELETE: &str = "DELETE FROM bento_outbox WHERE shard = $1 AND position = ANY($2)";

/// Takes the shards in turn: rows of neighbouring shards share their pages.
pub(crate) async fn drain(pool: &PgPool, batch: usize, published: &Published) -> Result {
    let mut shards: VecDeque<i32> = SHARDS.collect();
    while let Some(shard) = shards.pop_front() {
        if drain_batch(pool, shard, batch, published).await? > 0 {
            shards.push_back(shard);
        }
    }
    Ok(())
}

async fn drain_batch(
    pool: &PgPool,
    shard: i32,
    batch: usize,
    published: &Published,
) -> Result<usize> {
    let select = sqlx::query(AssertSqlSafe(SELECT.as_str()))
        .bind(shard)
        .bind(batch as i64);
    let events = select
        .try_map(|row| Event::read(&row))
        .fetch_all(pool)
        .await?;
    if events.is_empty() {
        return Ok(0);
    }
    published.add(black_box(&events).iter().filter_map(|event| event.sequence));
    let positions: Vec<i64> = events.iter().map(|event| event.position).collect();
    sqlx::query(DELETE)
        .bind(shard)
        .bind(positions)
        .execute(pool)
        .await?;
    Ok(events.len())
}
