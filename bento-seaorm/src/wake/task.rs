//! The two tasks of a bridge: the sender and the receiver.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bento_core::report::with_causes;
use bento_relay::WakeSubscription;
use bento_relay::telemetry::{self, RECEIVED_WAKES, SENT_WAKES, TARGET_RELAY};
use sea_orm::SqlxError;
use sea_orm::sqlx::postgres::{
    PgConnectOptions, PgConnection, PgExecutor, PgListener, PgPoolOptions,
};
use sea_orm::sqlx::{self, Connection as _};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::pace::Pace;
use super::payload::{self, Told};
use crate::tables::{Tables, bare};

/// The longest time that a statement or a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The wait after the first failure, and the longest wait after many.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// The channel: a name that is unique to an outbox of a database, and fits into the 63 bytes of an
/// identifier. The schema is that of the tables; before they are migrated, the one that they will
/// be in. It is the same whether the schema is named or found.
const CHANNEL: &str = "SELECT 'bento_wake_' || md5(concat_ws('.', coalesce((SELECT \
                       relnamespace::regnamespace::text FROM pg_class WHERE oid = \
                       to_regclass($1)), quote_ident($3), quote_ident(current_schema())), $2))";

/// The bridge, as both tasks need it.
pub(super) struct Bridge {
    options: PgConnectOptions,
    tables: Tables,
    subscription: WakeSubscription,
    id: Uuid,
}

impl Bridge {
    pub(super) fn new(
        options: PgConnectOptions,
        tables: Tables,
        subscription: WakeSubscription,
    ) -> Self {
        Self {
            options,
            tables,
            subscription,
            id: Uuid::now_v7(),
        }
    }

    /// Sends the wakes of this process. Wakes that could not be sent are left to the polls of the
    /// others.
    pub(super) async fn send(self: Arc<Self>) {
        let mut connection = None;
        let mut failures = 0;
        let mut pace = Pace::default();
        loop {
            let shards = self.subscription.woken().await;
            match in_time(self.notify(&mut connection, &payload::write(self.id, &shards))).await {
                Ok(()) => {
                    failures = 0;
                    telemetry::count(SENT_WAKES, 1);
                    sleep(pace.sent(Instant::now())).await;
                }
                Err(error) => {
                    connection = None;
                    failed("sent", &error, &mut failures).await;
                }
            }
        }
    }

    async fn notify(
        &self,
        connection: &mut Option<Connected>,
        payload: &str,
    ) -> Result<(), SqlxError> {
        let Connected {
            connection,
            channel,
        } = match connection {
            Some(connected) => connected,
            none => none.insert(self.connect().await?),
        };
        sqlx::query("SELECT pg_notify($1, $2)")
            .bind(&*channel)
            .bind(payload)
            .execute(connection)
            .await?;
        Ok(())
    }

    async fn connect(&self) -> Result<Connected, SqlxError> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        let channel = self.channel(&mut connection).await?;
        Ok(Connected {
            connection,
            channel,
        })
    }

    async fn channel(&self, connection: impl PgExecutor<'_>) -> Result<String, SqlxError> {
        let (outbox, schema) = (self.tables.outbox(), self.tables.prefix().schema());
        sqlx::query_scalar(CHANNEL)
            .bind(outbox)
            .bind(bare(outbox))
            .bind(schema)
            .fetch_one(connection)
            .await
    }

    /// Wakes the relays of this process for the commits of others.
    pub(super) async fn receive(self: Arc<Self>) {
        let mut failures = 0;
        loop {
            let error = match in_time(self.listen()).await {
                Ok(mut listener) => {
                    // Commits of the time without a listener are found by a poll.
                    self.subscription.wake_relays();
                    let began = Instant::now();
                    let error = self.pass_on(&mut listener).await;
                    // One that ends at once is no better than none: it must not be made ten times a
                    // second.
                    if began.elapsed() >= BACKOFF.1 {
                        failures = 0;
                    }
                    error
                }
                Err(error) => error,
            };
            failed("received", &error, &mut failures).await;
        }
    }

    /// Connects, each time with a pool of its own, so that a connection that hangs does not take
    /// its place.
    pub(super) async fn listen(&self) -> Result<PgListener, SqlxError> {
        let options = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None);
        let pool = options.connect_with(self.options.clone()).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        let channel = self.channel(&mut listener).await?;
        listener.listen(&channel).await?;
        Ok(listener)
    }

    /// Passes notifications on until the connection is lost.
    async fn pass_on(&self, listener: &mut PgListener) -> SqlxError {
        loop {
            match listener.try_recv().await {
                Ok(Some(notification)) => {
                    let Some(told) = payload::read(self.id, notification.payload()) else {
                        continue;
                    };
                    telemetry::count(RECEIVED_WAKES, 1);
                    match told {
                        Told::Shards(shards) => self.subscription.wake_others(&shards),
                        Told::Any => self.subscription.wake_relays(),
                    }
                }
                Ok(None) => return SqlxError::Io(std::io::ErrorKind::ConnectionAborted.into()),
                Err(error) => return error,
            }
        }
    }
}

/// A connection that knows the channel.
struct Connected {
    connection: PgConnection,
    channel: String,
}

async fn in_time<T>(call: impl Future<Output = Result<T, SqlxError>>) -> Result<T, SqlxError> {
    timeout(PATIENCE, call)
        .await
        .unwrap_or_else(|_| Err(SqlxError::Io(std::io::ErrorKind::TimedOut.into())))
}

async fn failed(what: &str, error: &SqlxError, failures: &mut u32) {
    let (first, most) = BACKOFF;
    let wait = most.min(first * 2_u32.pow((*failures).min(10)));
    *failures += 1;
    tracing::warn!(
        target: TARGET_RELAY, error = with_causes(error), ?wait,
        "wakes of other processes cannot be {what}; relays find new events at their next poll",
    );
    sleep(wait).await;
}
