//! The way of Bento: the aggregate raises, the commit writes.

use bento_benchmarks::Result;
use bento_benchmarks::order::Order;
use bento_seaorm::OutboxConnection;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr};
use sqlx::PgPool;

use crate::insert_many::insert_order;

pub(crate) struct Bento {
    database: OutboxConnection,
}

impl Bento {
    pub(crate) fn new(pool: &PgPool) -> Self {
        let database: DatabaseConnection = pool.clone().into();
        Self {
            database: OutboxConnection::new(database),
        }
    }

    pub(crate) async fn place_order(&self, events: usize) -> Result {
        self.database
            .transaction_async(async |tx| {
                let mut order = Order::new();
                tx.execute_raw(insert_order(order.id)).await?;
                order.raise_many(events);
                Ok::<_, DbErr>(())
            })
            .await?;
        Ok(())
    }
}
