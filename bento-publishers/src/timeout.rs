//! A limit for publishers that have none.

use std::time::Duration;

use bento_core::publish::{Delivery, Destination, PublishError, Publisher};

/// Bounds how long another publisher may take for a batch.
///
/// A call that takes longer is dropped, and all its deliveries fail as transient: some may have arrived and arrive again. The publishers of
/// this crate have limits of their own; this is for yours.
///
/// ```
/// use std::time::Duration;
/// use bento_publishers::{MemoryPublisher, Timeout};
///
/// let bounded = Timeout::new(MemoryPublisher::new(), Duration::from_secs(10));
/// ```
#[derive(Clone, Debug)]
pub struct Timeout<P> {
    inner: P,
    limit: Duration,
}

impl<P> Timeout<P> {
    /// `inner`, with `limit` for each batch.
    pub fn new(inner: P, limit: Duration) -> Self {
        Self { inner, limit }
    }
}

impl<P: Publisher> Publisher for Timeout<P> {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        let late = || Err(PublishError::transient(format!("the publisher took longer than {:?}", self.limit)));
        let answers = tokio::time::timeout(self.limit, self.inner.publish(batch)).await;
        answers.unwrap_or_else(|_| batch.iter().map(|_| late()).collect())
    }

    fn chains(&self, destination: &Destination) -> bool {
        self.inner.chains(destination)
    }

    fn serves(&self, destination: &Destination) -> bool {
        self.inner.serves(destination)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bento_core::Envelope;
    use bento_core::publish::MemoryPublisher;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_takes_too_long_fails_as_a_whole() {
        let broker = MemoryPublisher::chaining();
        let bounded = Timeout::new(broker.clone(), Duration::from_secs(2));
        let event = Envelope::new("a", 1, chrono::DateTime::UNIX_EPOCH, "{}");
        let batch = vec![Delivery::new(Arc::new(event), Destination::default()); 2];
        broker.answer_after(Duration::from_secs(1));
        assert!(bounded.publish(&batch).await.iter().all(Result::is_ok));
        broker.answer_after(Duration::from_secs(3));
        let late = bounded.publish(&batch).await;
        assert_eq!(late.len(), 2);
        assert_eq!(late[1].as_ref().unwrap_err().to_string(), "the publisher took longer than 2s");
        assert!(bounded.chains(&Destination::default()));
    }
}
