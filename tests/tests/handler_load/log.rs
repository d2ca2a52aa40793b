//! The times at which events are done, by destination.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bento_relay::publish::{
    Answering, Delivery, Destination, HandlerRoute, PublishError, Publisher, RelayTerms,
    UnfitPublisher,
};
use tokio::sync::watch;
use tokio::time::Instant;

/// Longer than any step takes; what does not end has failed.
const LIMIT: Duration = Duration::from_secs(600);

/// The times at which jobs are done, by destination. Clones are the same log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    done: Arc<Mutex<BTreeMap<String, BTreeMap<i64, Instant>>>>,
    counts: Arc<watch::Sender<BTreeMap<String, usize>>>,
}

impl Log {
    fn note(&self, delivery: &Delivery) {
        let now = Instant::now();
        let payload: serde_json::Value =
            serde_json::from_slice(&delivery.envelope.payload).unwrap();
        let number = payload["number"].as_i64().unwrap();
        let name = delivery.destination.name.to_string();
        let mut done = self.done.lock().unwrap();
        let before = done.entry(name.clone()).or_default().insert(number, now);
        assert_eq!(before, None, "`{name}` is done with job {number} once");
        self.counts
            .send_modify(|counts| *counts.entry(name).or_default() += 1);
    }

    /// Waits until a destination is done with this number of jobs.
    pub async fn reaches(&self, name: &str, count: usize) {
        let mut counts = self.counts.subscribe();
        let is_reached =
            |counts: &BTreeMap<String, usize>| counts.get(name).is_some_and(|done| *done >= count);
        let in_time = tokio::time::timeout(LIMIT, counts.wait_for(is_reached)).await;
        if in_time.is_err() {
            panic!("`{name}` is done with {:?}", self.counts.borrow().get(name));
        }
    }

    /// The time at which each job was done.
    pub fn of(&self, name: &str) -> BTreeMap<i64, Instant> {
        self.done
            .lock()
            .unwrap()
            .get(name)
            .cloned()
            .unwrap_or_default()
    }
}

/// A publisher whose confirmations are noted.
#[derive(Debug)]
pub struct Noted<P>(pub P, pub Log);

impl<P: Publisher> Publisher for Noted<P> {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        let answers = self.0.publish(batch).await;
        for (delivery, answer) in batch.iter().zip(&answers) {
            if answer.is_ok() {
                self.1.note(delivery);
            }
        }
        answers
    }

    fn chains(&self, destination: &Destination) -> bool {
        self.0.chains(destination)
    }

    fn answering(&self, destination: &Destination) -> Answering {
        self.0.answering(destination)
    }

    fn serves(&self, destination: &Destination) -> bool {
        self.0.serves(destination)
    }

    fn handlers(&self) -> Vec<HandlerRoute> {
        self.0.handlers()
    }

    fn prepare(&self, terms: &RelayTerms) -> Result<(), UnfitPublisher> {
        self.0.prepare(terms)
    }
}
