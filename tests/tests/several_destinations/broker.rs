//! A broker in memory that notes how late events come.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bento_relay::publish::{Delivery, MemoryPublisher, PublishError, Publisher};
use tokio::sync::watch;

/// Clones are the same broker.
#[derive(Clone, Debug, Default)]
pub struct Broker {
    inner: MemoryPublisher,
    delays: Arc<Mutex<Vec<Duration>>>,
    tenants: Arc<watch::Sender<BTreeMap<String, usize>>>,
}

impl Broker {
    pub fn inner(&self) -> &MemoryPublisher {
        &self.inner
    }

    /// The number of received events of a tenant.
    pub fn of_tenant(&self, tenant: &str) -> usize {
        self.tenants
            .borrow()
            .get(tenant)
            .copied()
            .unwrap_or_default()
    }

    /// Waits until at least this number of events came.
    pub async fn reaches(&self, tenant: &str, count: usize) {
        let mut tenants = self.tenants.subscribe();
        let is_reached =
            |tenants: &BTreeMap<String, usize>| tenants.get(tenant).is_some_and(|of| *of >= count);
        tenants
            .wait_for(is_reached)
            .await
            .expect("the sender is held by self");
    }

    /// Takes the delays of the events that were received since the last call.
    pub fn take_delays(&self) -> Delays {
        Delays::of(std::mem::take(&mut self.delays.lock().unwrap()))
    }
}

impl Publisher for Broker {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        let answers = self.inner.publish(batch).await;
        let now = chrono::Utc::now();
        let confirmed = batch
            .iter()
            .zip(&answers)
            .filter(|(_, answer)| answer.is_ok());
        let (mut delays, mut tenants) = (Vec::new(), Vec::new());
        for (delivery, _) in confirmed {
            delays.push(
                (now - delivery.envelope.occurred_at)
                    .to_std()
                    .unwrap_or_default(),
            );
            tenants.extend(delivery.envelope.tenant_id.clone());
        }
        self.delays.lock().unwrap().extend(delays);
        self.tenants.send_modify(|known| {
            tenants
                .into_iter()
                .for_each(|tenant| *known.entry(tenant).or_default() += 1)
        });
        answers
    }
}

/// The number of its aggregate.
pub fn account(delivery: &Delivery) -> i64 {
    delivery.envelope.aggregate_id.parse().unwrap()
}

/// The times between raising and receiving.
pub struct Delays {
    pub count: usize,
    pub p50: Duration,
    pub p95: Duration,
    pub max: Duration,
}

impl Delays {
    /// # Panics
    /// If there is none.
    pub fn of(mut delays: Vec<Duration>) -> Self {
        delays.sort_unstable();
        let at = |share: usize| delays[(delays.len() - 1) * share / 100];
        Self {
            count: delays.len(),
            p50: at(50),
            p95: at(95),
            max: at(100),
        }
    }
}

impl fmt::Display for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            count,
            p50,
            p95,
            max,
        } = self;
        write!(
            f,
            "{count} events, p50 {} ms, p95 {} ms, max {} ms",
            p50.as_millis(),
            p95.as_millis(),
            max.as_millis()
        )
    }
}
