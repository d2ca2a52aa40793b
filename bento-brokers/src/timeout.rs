//! A limit for publishers that have none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bento_relay::publish::{
    Answering, Delivery, Destination, HandlerRoute, PublishError, Publisher, RelayTerms,
    UnfitPublisher,
};

/// Bounds how long another publisher may take for a batch.
///
/// A call that takes longer is dropped, and all its deliveries fail: some may have arrived and
/// arrive again. They fail as unavailable, because the broker may hang; a delivery that was alone
/// in its batch while the broker answered another call fails as transient. The publishers of this
/// crate have limits of their own; this is for yours.
///
/// ```
/// use std::time::Duration;
/// use bento_brokers::{MemoryPublisher, Timeout};
///
/// let bounded = Timeout::new(MemoryPublisher::new(), Duration::from_secs(10));
/// ```
#[derive(Clone, Debug)]
pub struct Timeout<P> {
    inner: P,
    limit: Duration,
    /// The number of calls in which the broker answered about an event.
    answered: Arc<AtomicU64>,
}

impl<P> Timeout<P> {
    /// `inner`, with `limit` for each batch.
    pub fn new(inner: P, limit: Duration) -> Self {
        Self {
            inner,
            limit,
            answered: Arc::default(),
        }
    }
}

impl<P: Publisher> Publisher for Timeout<P> {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        let answered = self.answered.load(Ordering::Relaxed);
        let bounded: Vec<_> = batch
            .iter()
            .map(|delivery| delivery.clone().within(self.limit))
            .collect();
        let Ok(answers) = tokio::time::timeout(self.limit, self.inner.publish(&bounded)).await
        else {
            let text = format!("the publisher took longer than {:?}", self.limit);
            // One event that makes the publisher hang, if others are answered meanwhile.
            let is_to_blame = batch.len() == 1 && answered != self.answered.load(Ordering::Relaxed);
            let late = if is_to_blame {
                PublishError::transient
            } else {
                PublishError::unavailable
            };
            return batch.iter().map(|_| Err(late(text.clone()))).collect();
        };
        let is_answer = |answer: &Result<(), PublishError>| {
            answer
                .as_ref()
                .map_or_else(|error| error.class().is_answer(), |()| true)
        };
        self.answered
            .fetch_add(u64::from(answers.iter().any(is_answer)), Ordering::Relaxed);
        answers
    }

    fn chains(&self, destination: &Destination) -> bool {
        self.inner.chains(destination)
    }

    fn serves(&self, destination: &Destination) -> bool {
        self.inner.serves(destination)
    }

    fn answering(&self, destination: &Destination) -> Answering {
        self.inner.answering(destination)
    }

    fn handlers(&self) -> Vec<HandlerRoute> {
        self.inner.handlers()
    }

    fn has_only_handlers(&self) -> bool {
        self.inner.has_only_handlers()
    }

    fn prepare(&self, terms: &RelayTerms) -> Result<(), UnfitPublisher> {
        self.inner.prepare(terms)
    }
}

#[cfg(test)]
mod tests {
    use bento_core::Envelope;
    use bento_relay::publish::{FailureClass, MemoryPublisher};

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
        assert_eq!(
            late[1].as_ref().unwrap_err().to_string(),
            "the publisher took longer than 2s"
        );
        assert!(bounded.chains(&Destination::default()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_is_to_blame_only_if_another_is_answered_meanwhile() {
        #[derive(Debug)]
        struct HangsAt(&'static str);
        impl Publisher for HangsAt {
            async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
                if batch.iter().any(|delivery| delivery.topic() == self.0) {
                    std::future::pending::<()>().await;
                }
                batch.iter().map(|_| Ok(())).collect()
            }
        }
        let bounded = Timeout::new(HangsAt("poison"), Duration::from_secs(2));
        let one = |event_type: &'static str| {
            let event = Envelope::new(event_type, 1, chrono::DateTime::UNIX_EPOCH, "{}");
            Delivery::new(Arc::new(event), Destination::default())
        };
        let class =
            |answers: Vec<Result<(), PublishError>>| answers[0].as_ref().unwrap_err().class();
        let (poison, good) = ([one("poison")], [one("good")]);
        assert_eq!(
            class(bounded.publish(&poison).await),
            FailureClass::Unavailable
        );
        let (poisoned, answered) = tokio::join!(bounded.publish(&poison), bounded.publish(&good));
        assert!(answered[0].is_ok());
        assert_eq!(class(poisoned), FailureClass::Transient);
        let both = [one("poison"), one("good")];
        let (together, _) = tokio::join!(bounded.publish(&both), bounded.publish(&good));
        assert_eq!(
            class(together),
            FailureClass::Unavailable,
            "it was not alone"
        );
    }
}
