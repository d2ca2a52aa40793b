//! The listeners, the same in every turn: a notification without a listener costs less.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bento_benchmarks::Result;
use bento_relay::Wake;
use bento_seaorm::wake::PostgresWake;
use sqlx::postgres::PgListener;
use tokio::task::JoinSet;

/// The channel that a transaction notifies.
pub(crate) const CHANNEL: &str = "bench_notify";

pub(crate) struct Listeners {
    by_bento: Arc<AtomicU64>,
    inside: Arc<AtomicU64>,
    _receives: PostgresWake,
    _tasks: JoinSet<()>,
}

impl Listeners {
    /// Another relay's `PostgresWake`, and a session that hears what transactions notify.
    pub(crate) async fn start(url: &str) -> Result<Self> {
        let wake = Wake::new();
        let (by_bento, inside) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        let (subscription, count) = (wake.subscribe(), Arc::clone(&by_bento));
        tasks.spawn(async move {
            loop {
                subscription.woken().await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let (mut listener, count) = (PgListener::connect(url).await?, Arc::clone(&inside));
        listener.listen(CHANNEL).await?;
        tasks.spawn(async move {
            while listener.recv().await.is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(Self {
            by_bento,
            inside,
            _receives: PostgresWake::start(url, &wake)?,
            _tasks: tasks,
        })
    }

    /// The number of notifications that they received, by Bento and from inside the transactions.
    ///
    /// # Errors
    /// If one never was: there was nothing to measure.
    pub(crate) fn heard(&self) -> Result<(u64, u64)> {
        let heard = (
            self.by_bento.load(Ordering::Relaxed),
            self.inside.load(Ordering::Relaxed),
        );
        if heard.0 == 0 || heard.1 == 0 {
            Err(format!("nobody heard: {heard:?}").into())
        } else {
            Ok(heard)
        }
    }
}
