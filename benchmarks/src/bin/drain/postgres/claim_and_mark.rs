//! The usual outbox with sqlx: claim a batch by UPDATE … SKIP LOCKED, publish, mark it sent by
//! UPDATE. Rows are never deleted here; cleaning up, which it needs as well, is not counted.

use std::hint::black_box;
use std::sync::LazyLock;

use bento_benchmarks::Result;
use sqlx::{AssertSqlSafe, PgPool};

use super::CLAIM_TABLE;
use crate::event::{Event, READ};
use crate::outbox::Published;

static CLAIM: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE {CLAIM_TABLE} SET status = 'in_flight',
             claimed_until = now() + interval '30 seconds'
         WHERE position IN (
            SELECT position FROM {CLAIM_TABLE} WHERE status = 'pending' ORDER BY position LIMIT $1
            FOR UPDATE SKIP LOCKED)
         RETURNING {READ}"
    )
});

const MARK: &str =
    "UPDATE claim_outbox SET status = 'sent', sent_at = now() WHERE position = ANY($1)";

pub(crate) async fn drain(pool: &PgPool, batch: usize, published: &Published) -> Result {
    while drain_batch(pool, batch, published).await? > 0 {}
    Ok(())
}

async fn drain_batch(pool: &PgPool, batch: usize, published: &Published) -> Result<usize> {
    let claim = sqlx::query(AssertSqlSafe(CLAIM.as_str())).bind(batch as i64);
    let mut events = claim
        .try_map(|row| Event::read(&row))
        .fetch_all(pool)
        .await?;
    if events.is_empty() {
        return Ok(0);
    }
    events.sort_unstable_by_key(|event| event.position);
    published.add(black_box(&events).iter().filter_map(|event| event.sequence));
    let positions: Vec<i64> = events.iter().map(|event| event.position).collect();
    sqlx::query(MARK).bind(positions).execute(pool).await?;
    Ok(events.len())
}
