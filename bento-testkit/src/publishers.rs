//! Publishers for tests: one that watches another, one that makes another unreliable.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bento_relay::publish::{
    Answering, Delivery, Destination, HandlerRoute, MemoryPublisher, PublishError, Publisher,
    RelayTerms, UnfitPublisher,
};

use crate::draws::Draws;

/// Watches another publisher: which batches it got, and whether the relay kept its promise about
/// them. Clones watch together.
#[derive(Clone, Debug, Default)]
pub struct RecordingPublisher<P = MemoryPublisher> {
    inner: P,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    batches: Vec<Vec<Delivery>>,
    under_way: HashMap<(String, String), usize>,
    violations: Vec<String>,
}

impl RecordingPublisher {
    /// Watches a broker in memory.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<P> RecordingPublisher<P> {
    /// Watches `inner`.
    pub fn watching(inner: P) -> Self {
        Self {
            inner,
            seen: Arc::default(),
        }
    }

    /// The publisher that is watched.
    pub fn inner(&self) -> &P {
        &self.inner
    }

    /// Every batch so far, in the order in which they were handed over.
    pub fn batches(&self) -> Vec<Vec<Delivery>> {
        self.seen().batches.clone()
    }

    /// Every delivery so far, failed ones included.
    pub fn attempts(&self) -> Vec<Delivery> {
        self.batches().concat()
    }

    /// Checks that no two events of one aggregate were ever on their way at once.
    ///
    /// # Panics
    /// If they were.
    #[track_caller]
    pub fn assert_one_at_a_time(&self) {
        let violations = &self.seen().violations;
        assert!(
            violations.is_empty(),
            "two events of one aggregate were on their way at once: {violations:?}"
        );
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Publisher> Publisher for RecordingPublisher<P> {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        let _under_way = UnderWay::start(&self.seen, batch);
        self.inner.publish(batch).await
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

/// Counts the aggregates of a batch while it is on its way, also if it is cancelled or panics.
struct UnderWay<'a> {
    seen: &'a Mutex<Seen>,
    streams: Vec<(String, String)>,
}

impl<'a> UnderWay<'a> {
    fn start(seen: &'a Mutex<Seen>, batch: &[Delivery]) -> Self {
        let ordered = batch
            .iter()
            .map(|delivery| &delivery.envelope)
            .filter(|event| event.is_ordered());
        let streams: Vec<_> = ordered
            .map(|event| {
                (
                    event.aggregate_type.clone().into_owned(),
                    event.aggregate_id.clone(),
                )
            })
            .collect();
        let mut books = seen.lock().unwrap_or_else(PoisonError::into_inner);
        books.batches.push(batch.to_vec());
        for stream in &streams {
            let count = books.under_way.entry(stream.clone()).or_default();
            *count += 1;
            if *count > 1 {
                books.violations.push(format!("{}/{}", stream.0, stream.1));
            }
        }
        drop(books);
        Self { seen, streams }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut books = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in &self.streams {
            *books.under_way.get_mut(stream).expect("it was counted") -= 1;
        }
    }
}

/// Makes another publisher unreliable, repeatably from a seed. Clones draw from the same numbers.
///
/// Chances are in percent of the batches; they are drawn in the order of the fields of
/// [`Flakiness`].
///
/// ```
/// use bento_relay::publish::MemoryPublisher;
/// use bento_testkit::{Flakiness, FlakyPublisher};
///
/// let half = Flakiness { fails: 50, ..Flakiness::default() };
/// let publisher = FlakyPublisher::new(MemoryPublisher::new(), half, 7);
/// ```
#[derive(Clone)]
pub struct FlakyPublisher<P> {
    inner: P,
    flakiness: Flakiness,
    draws: Arc<Mutex<Draws>>,
}

/// The frequency of each fault, in percent of the batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flakiness {
    /// The publisher panics before anything is published.
    pub panics: u8,
    /// The batch is published, and the confirmation of every event is lost.
    pub loses_confirmations: u8,
    /// The batch is published, and the answers of its second half are missing.
    pub answers_too_little: u8,
    /// Nothing is published.
    pub fails: u8,
}

impl<P> FlakyPublisher<P> {
    /// Makes `inner` unreliable.
    pub fn new(inner: P, flakiness: Flakiness, seed: u64) -> Self {
        Self {
            inner,
            flakiness,
            draws: Arc::new(Mutex::new(Draws::new(seed))),
        }
    }

    /// True if something that happens in `percent` of the cases happens now.
    fn happens(&self, percent: u8) -> bool {
        let mut draws = self.draws.lock().unwrap_or_else(PoisonError::into_inner);
        draws.happens(percent)
    }
}

impl<P: Publisher> Publisher for FlakyPublisher<P> {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        let Flakiness {
            panics,
            loses_confirmations,
            answers_too_little,
            fails,
        } = self.flakiness;
        let fault = |text: &'static str| {
            batch
                .iter()
                .map(|_| Err(PublishError::unavailable(text)))
                .collect()
        };
        assert!(!self.happens(panics), "a flaky publisher panics as told");
        if self.happens(fails) {
            return fault("a flaky publisher fails as told");
        }
        let mut answers = self.inner.publish(batch).await;
        if self.happens(loses_confirmations) {
            return fault("a flaky publisher lost the confirmation as told");
        }
        if self.happens(answers_too_little) {
            answers.truncate(batch.len() / 2);
        }
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

impl<P: fmt::Debug> fmt::Debug for FlakyPublisher<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            inner,
            flakiness,
            draws: _,
        } = self;
        f.debug_struct("FlakyPublisher")
            .field("inner", inner)
            .field("flakiness", flakiness)
            .finish_non_exhaustive()
    }
}
