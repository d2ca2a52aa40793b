//! A publisher that keeps events in memory.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::{Delivery, Destination, PublishError, Publisher};

/// A broker in memory: keeps published events, and fails, waits or answers late on request. Clones
/// are the same broker.
///
/// ```
/// use bento_relay::publish::{MemoryPublisher, PublishError};
///
/// let broker = MemoryPublisher::new();
/// broker.fail(|delivery| {
///     (delivery.topic() == "order.paid").then(|| PublishError::permanent("no such topic"))
/// });
/// broker.recover();
/// assert!(broker.published().is_empty());
/// ```
#[derive(Clone)]
pub struct MemoryPublisher {
    inner: Arc<Inner>,
    chains: bool,
}

type Rule = Arc<dyn Fn(&Delivery) -> Option<PublishError> + Send + Sync>;

struct Inner {
    published: watch::Sender<Vec<Delivery>>,
    behaviour: Mutex<Behaviour>,
    gate: watch::Sender<Gate>,
}

#[derive(Clone, Default)]
struct Behaviour {
    rule: Option<Rule>,
    delay: Duration,
}

#[derive(Default)]
struct Gate {
    is_closed: bool,
    waiting: usize,
}

impl Default for MemoryPublisher {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryPublisher {
    /// A broker that accepts one event of an aggregate per batch.
    pub fn new() -> Self {
        let inner = Inner {
            published: watch::Sender::default(),
            behaviour: Mutex::default(),
            gate: watch::Sender::default(),
        };
        Self {
            inner: Arc::new(inner),
            chains: false,
        }
    }

    /// A broker that accepts several events of an aggregate in one batch, and none after one that
    /// failed.
    pub fn chaining() -> Self {
        Self {
            chains: true,
            ..Self::new()
        }
    }

    /// The published events in order, duplicates included.
    pub fn published(&self) -> Vec<Delivery> {
        self.inner.published.borrow().clone()
    }

    /// Waits until at least `count` events were published.
    ///
    /// # Cancel safety
    /// It only waits: nothing is lost.
    pub async fn wait_for(&self, count: usize) {
        let mut published = self.inner.published.subscribe();
        published
            .wait_for(|published| published.len() >= count)
            .await
            .expect("the sender is held by self");
    }

    /// Makes deliveries fail: those for which `rule` returns an error.
    pub fn fail(&self, rule: impl Fn(&Delivery) -> Option<PublishError> + Send + Sync + 'static) {
        self.behaviour().rule = Some(Arc::new(rule));
    }

    /// Ends all failures.
    pub fn recover(&self) {
        self.behaviour().rule = None;
    }

    /// Makes each batch published at once and answered after `delay`, by tokio's clock.
    pub fn answer_after(&self, delay: Duration) {
        self.behaviour().delay = delay;
    }

    /// Makes each batch wait before it is published, until [`unblock`](Self::unblock).
    pub fn block(&self) {
        self.inner.gate.send_modify(|gate| gate.is_closed = true);
    }

    /// Releases the waiting batches.
    pub fn unblock(&self) {
        self.inner.gate.send_modify(|gate| gate.is_closed = false);
    }

    /// Waits until `count` batches are waiting.
    ///
    /// # Cancel safety
    /// It only waits: nothing is lost.
    pub async fn wait_for_blocked(&self, count: usize) {
        let mut gate = self.inner.gate.subscribe();
        gate.wait_for(|gate| gate.waiting >= count)
            .await
            .expect("the sender is held by self");
    }

    async fn pass_gate(&self) {
        let mut gate = self.inner.gate.subscribe();
        if !gate.borrow().is_closed {
            return;
        }
        let _waiting = Waiting::new(&self.inner.gate);
        gate.wait_for(|gate| !gate.is_closed)
            .await
            .expect("the sender is held by self");
    }

    fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.inner
            .behaviour
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A batch that waits; it is counted until it is dropped, also by cancellation.
struct Waiting<'a>(&'a watch::Sender<Gate>);

impl<'a> Waiting<'a> {
    fn new(gate: &'a watch::Sender<Gate>) -> Self {
        gate.send_modify(|gate| gate.waiting += 1);
        Self(gate)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|gate| gate.waiting -= 1);
    }
}

impl Publisher for MemoryPublisher {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        self.pass_gate().await;
        let Behaviour { rule, delay } = self.behaviour().clone();
        let mut failed = HashSet::new();
        let mut confirmed = Vec::new();
        let mut answers = Vec::with_capacity(batch.len());
        for delivery in batch {
            let aggregate = (
                &delivery.envelope.aggregate_type,
                &delivery.envelope.aggregate_id,
            );
            let error = match rule.as_ref().and_then(|rule| rule(delivery)) {
                None if self.chains && failed.contains(&aggregate) => {
                    Some(PublishError::unavailable(
                        "an earlier event of the aggregate failed, this one was not tried",
                    ))
                }
                error => error,
            };
            if error.is_some() && delivery.envelope.is_ordered() {
                failed.insert(aggregate);
            }
            if error.is_none() {
                confirmed.push(delivery.clone());
            }
            answers.push(error.map_or(Ok(()), Err));
        }
        self.inner
            .published
            .send_modify(|published| published.extend(confirmed));
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        answers
    }

    fn chains(&self, _destination: &Destination) -> bool {
        self.chains
    }
}

impl fmt::Debug for MemoryPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let published = self.inner.published.borrow().len();
        f.debug_struct("MemoryPublisher")
            .field("published", &published)
            .field("chains", &self.chains)
            .finish()
    }
}
