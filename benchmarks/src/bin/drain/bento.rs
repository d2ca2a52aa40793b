//! The way of Bento: a relay on the outbox of the database, with a publisher that confirms
//! everything at once.

use std::sync::Arc;

use bento_benchmarks::Result;
use bento_relay::Relay;
use bento_relay::publish::{Delivery, PublishError, Publisher};
use bento_seaorm::OutboxStore;
use sqlx::PgPool;

use crate::outbox::Published;

pub(crate) async fn drain(
    pool: &PgPool,
    batch: usize,
    workers: Option<usize>,
    published: &Arc<Published>,
) -> Result {
    let store = OutboxStore::new(pool.clone().into());
    let relay = Relay::builder(store, Confirm(Arc::clone(published))).batch(batch);
    let relay = match workers {
        Some(workers) => relay.workers(workers),
        None => relay,
    };
    relay.run_until_empty().await?;
    Ok(())
}

#[derive(Debug)]
struct Confirm(Arc<Published>);

impl Publisher for Confirm {
    async fn publish(&self, batch: &[Delivery]) -> Vec<std::result::Result<(), PublishError>> {
        self.0.add(
            batch
                .iter()
                .filter_map(|delivery| delivery.envelope.sequence),
        );
        batch.iter().map(|_| Ok(())).collect()
    }
}
