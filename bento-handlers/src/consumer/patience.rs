//! The time that a consumer gives the inbox and its broker: one that does not answer, as behind a
//! connection that was lost without notice, hangs neither a reader nor the end of the consumer.

use std::future::Future;
use std::time::Duration;

use bento_relay::StoreError;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The longest time that a call may still take once the consumer stops. Two follow each other then:
/// the one that runs, and the one that hands the source back.
const AT_THE_END: Duration = Duration::from_secs(4);

/// The time for one call.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    limit: Duration,
    stop: CancellationToken,
}

/// The inbox did not answer.
#[derive(Debug, thiserror::Error)]
#[error("the database did not answer within {limit:?}, or until the consumer had to stop")]
struct NoAnswer {
    limit: Duration,
}

impl Patience {
    pub(super) fn new(limit: Duration, stop: CancellationToken) -> Self {
        Self { limit, stop }
    }

    /// Calls the inbox.
    ///
    /// # Errors
    /// The failure of the call, or that it has not ended in time.
    pub(super) async fn ask<T, E: From<StoreError>>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let answer = self.wait_for(call).await;
        answer.unwrap_or_else(|| {
            let limit = self.limit;
            Err(StoreError::unavailable(NoAnswer { limit }).into())
        })
    }

    /// Waits for a call; `None` if it has not ended in time.
    pub(super) async fn wait_for<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        let stopping = async {
            self.stop.cancelled().await;
            sleep(AT_THE_END).await;
        };
        tokio::select! {
            biased;
            answer = timeout(self.limit, call) => answer.ok(),
            () = stopping => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_in_time_and_soon_after_the_stop() {
        let (limit, stop) = (Duration::from_secs(30), CancellationToken::new());
        let patience = Patience::new(limit, stop.clone());
        let began = Instant::now();
        let hangs = || pending::<Result<(), StoreError>>();
        let error = patience.ask(hangs()).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert_eq!(began.elapsed(), limit);
        stop.cancel();
        assert_eq!(patience.wait_for(hangs()).await.map(drop), None);
        assert_eq!(began.elapsed(), limit + AT_THE_END);
        patience
            .ask(async { Ok::<_, StoreError>(()) })
            .await
            .unwrap();
    }
}
