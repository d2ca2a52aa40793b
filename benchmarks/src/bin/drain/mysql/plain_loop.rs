//! By hand with sqlx, for one process that is alone and never fails: read a batch in order,
//! publish, delete it.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::LazyLock;

use bento_benchmarks::Result;
use sqlx::{AssertSqlSafe, MySqlPool};

use crate::event::{Event, READ};
use crate::outbox::{Published, SHARDS, TABLE};

static SELECT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {READ} FROM {TABLE} WHERE shard = ? ORDER BY position LIMIT \
                              ?"
    )
});

/// Takes the shards in turn: rows of neighbouring shards share their pages.
pub(crate) async fn drain(pool: &MySqlPool, batch: usize, published: &Published) -> Result {
    let mut shards: VecDeque<i32> = SHARDS.collect();
    while let Some(shard) = shards.pop_front() {
        if drain_batch(pool, shard, batch, published).await? > 0 {
            shards.push_back(shard);
        }
    }
    Ok(())
}

/// All batches of a shard but the last are full, so that there are few texts to prepare.
async fn drain_batch(
    pool: &MySqlPool,
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
    let places = vec!["?"; events.len()].join(", ");
    let delete = format!("DELETE FROM {TABLE} WHERE shard = ? AND position IN ({places})");
    let delete = sqlx::query(AssertSqlSafe(delete)).bind(shard);
    events
        .iter()
        .fold(delete, |delete, event| delete.bind(event.position))
        .execute(pool)
        .await?;
    Ok(events.len())
}
