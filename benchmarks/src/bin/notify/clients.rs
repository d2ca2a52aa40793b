//! Those who commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bento_benchmarks::Result;
use bento_benchmarks::order::Order;
use bento_relay::Wake;
use bento_seaorm::OutboxConnection;
use bento_seaorm::wake::PostgresWake;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use sqlx::PgPool;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::Contender::{self, Bento, Inside};
use crate::listeners::CHANNEL;

const INSERT_ORDER: &str =
    "INSERT INTO bench_order (id, customer, total_cents) VALUES ($1, $2, $3)";
const NOTIFY: &str = "SELECT pg_notify($1, $2)";

/// Clients that work at the same time, each with a connection.
pub(crate) struct Clients {
    clients: u32,
    silent: OutboxConnection,
    waking: OutboxConnection,
    _passes_on: PostgresWake,
}

impl Clients {
    pub(crate) fn new(pool: &PgPool, url: &str, clients: u32) -> Result<Self> {
        let wake = Wake::new();
        Ok(Self {
            clients,
            silent: OutboxConnection::new(pool.clone().into()),
            waking: OutboxConnection::builder(pool.clone().into())
                .wake(&wake)
                .build(),
            _passes_on: PostgresWake::start(url, &wake)?,
        })
    }

    /// Commits this number of times, each client as often as it can.
    pub(crate) async fn commit(&self, contender: Contender, commits: u32) -> Result {
        let begun = Arc::new(AtomicU32::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..self.clients {
            let (begun, connection) = (Arc::clone(&begun), self.connection(contender).clone());
            clients.spawn(async move {
                while begun.fetch_add(1, Ordering::Relaxed) < commits {
                    place_order(&connection, contender == Inside).await?;
                }
                Result::Ok(())
            });
        }
        while let Some(ended) = clients.join_next().await {
            ended??;
        }
        Ok(())
    }

    fn connection(&self, contender: Contender) -> &OutboxConnection {
        if contender == Bento {
            &self.waking
        } else {
            &self.silent
        }
    }
}

async fn place_order(connection: &OutboxConnection, notifies: bool) -> Result {
    let placing = async move |tx: &bento_seaorm::OutboxTransaction| {
        let mut order = Order::new();
        tx.execute_raw(insert_order(order.id)).await?;
        order.raise_many(1);
        if notifies {
            let values = [CHANNEL.into(), order.id.to_string().into()];
            tx.execute_raw(Statement::from_sql_and_values(
                DbBackend::Postgres,
                NOTIFY,
                values,
            ))
            .await?;
        }
        Ok::<_, DbErr>(())
    };
    connection.transaction_async(placing).await?;
    Ok(())
}

fn insert_order(id: Uuid) -> Statement {
    let values = [id.into(), "customer".into(), 1_000_i64.into()];
    Statement::from_sql_and_values(DbBackend::Postgres, INSERT_ORDER, values)
}

pub(crate) async fn create(pool: &PgPool) -> Result {
    bento_seaorm::migrate(&pool.clone().into()).await?;
    let sql = "CREATE TABLE bench_order (id uuid PRIMARY KEY, customer text NOT NULL, total_cents \
               bigint NOT NULL)";
    sqlx::query(sql).execute(pool).await?;
    Ok(())
}

pub(crate) async fn empty(pool: &PgPool) -> Result {
    sqlx::raw_sql("TRUNCATE bento_outbox, bench_order")
        .execute(pool)
        .await?;
    Ok(())
}

/// Each transaction wrote both.
pub(crate) async fn verify(pool: &PgPool, commits: u32) -> Result {
    let sql = "SELECT (SELECT count(*) FROM bento_outbox), (SELECT count(*) FROM bench_order)";
    let found: (i64, i64) = sqlx::query_as(sql).fetch_one(pool).await?;
    if found == (commits.into(), commits.into()) {
        Ok(())
    } else {
        Err(format!(
            "{} events and {} orders instead of {commits}",
            found.0, found.1
        )
        .into())
    }
}
