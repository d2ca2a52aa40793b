//! The reading of one source: claim, subscribe, receive, store, acknowledge.

use std::sync::Arc;
use std::time::Duration;

use bento_core::report::with_causes;
use bento_relay::retry::Backoff;
use bento_relay::source::{
    BoxSource, BoxSubscription, Cursor, Most, Received, Resume, Source as _, SourceError,
    Subscription as _,
};
use bento_relay::{StoreError, Wake};
use bento_seaorm::Inbox;
use bento_seaorm::inbox::{Arrival, Claim, ConsumerId, Ingest, IngestError, Ingested, SourceLease};
use chrono::Utc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::admission::{Admission, Admitted};
use super::health::SourceStatus;
use super::patience::Patience;
use super::settings::ConsumerSettings;
use super::watch::Notes;
use crate::telemetry::{self, SPAN_INGEST, TARGET_CONSUME};

/// The waits between attempts.
const RETRY: Backoff = Backoff::Exponential {
    base: Duration::from_millis(500),
    cap: Duration::from_secs(30),
};

/// The time that a broker has to confirm a subscription, at least.
const SUBSCRIBED_WITHIN: Duration = Duration::from_secs(30);

/// The interval at which a full inbox is counted again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The interval at which the broker is asked for its lag.
const LAG_EVERY: Duration = Duration::from_secs(15);

/// The reader of one source.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) name: Arc<str>,
    pub(super) source: BoxSource,
    pub(super) inbox: Inbox,
    pub(super) id: ConsumerId,
    pub(super) settings: Arc<ConsumerSettings>,
    pub(super) admission: Admission,
    pub(super) wake: Wake,
    pub(super) notes: Notes,
    pub(super) stop: CancellationToken,
    pub(super) patience: Patience,
}

/// The reason why a subscription has ended.
enum End {
    /// The consumer stops.
    Stopped,
    /// Another process reads the source.
    Lost,
    Source(SourceError),
    Store(StoreError),
}

impl From<SourceError> for End {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Reader {
    /// Reads until the consumer stops.
    pub(super) async fn run(&self) {
        let mut failures = 0;
        while !self.stop.is_cancelled() {
            let began = Instant::now();
            let wait = match self.read().await {
                End::Stopped => return,
                End::Lost => {
                    failures = 0;
                    self.stand_by()
                }
                end => {
                    // A subscription that has lasted begins the count of failures anew.
                    let has_lasted = began.elapsed() > self.settings.lease;
                    failures = if has_lasted { 1 } else { failures + 1 };
                    self.note(end);
                    RETRY.wait(failures, &mut fastrand::Rng::new())
                }
            };
            // The wait ends early when the consumer stops.
            let _ = timeout(wait, self.stop.cancelled()).await;
        }
    }

    /// Notes that another process reads the source; returns the wait until it is asked again.
    fn stand_by(&self) -> Duration {
        if self.notes.set(SourceStatus::Standby) {
            tracing::info!(
                target: TARGET_CONSUME, source = &*self.name,
                "another process reads the source; this one stands by",
            );
        }
        (self.settings.lease / 10).clamp(Duration::from_millis(50), Duration::from_secs(2))
    }

    fn note(&self, end: End) {
        let error = match end {
            End::Source(error) => error,
            End::Store(error) => {
                SourceError::unavailable("the inbox is unavailable").because(error)
            }
            End::Stopped | End::Lost => return,
        };
        let text = error.chain();
        let (source, is_refused) = (&*self.name, error.is_refused());
        match (self.notes.fail(error), is_refused) {
            (false, _) => {}
            (true, true) => tracing::error!(
                target: TARGET_CONSUME, source, error = text,
                "the broker refuses the source, which an operator has to repair; it is tried again",
            ),
            (true, false) => tracing::warn!(
                target: TARGET_CONSUME, source, error = text,
                "the source cannot be read now, it is tried again",
            ),
        }
    }

    /// Claims the source, and reads it until something ends that.
    async fn read(&self) -> End {
        let (lease, cursor) = match self.claim().await {
            Ok(Some(claimed)) => claimed,
            Ok(None) => return End::Lost,
            Err(error) => return error.into(),
        };
        let resume = Resume::new(Arc::clone(&self.name))
            .behind(cursor)
            .lease(self.settings.lease);
        let subscription = tokio::select! {
            subscribed = self.subscribe(resume) => subscribed,
            () = self.stop.cancelled() => {
                self.release(&lease).await;
                return End::Stopped;
            }
        };
        let end = match subscription {
            Ok(mut subscription) => {
                self.subscribed();
                let end = self.receive(&mut subscription, &lease).await;
                self.patience.wait_for(subscription.close()).await;
                end.err().unwrap_or(End::Stopped)
            }
            Err(end) => end,
        };
        // After a failure another process may be luckier.
        if !matches!(end, End::Lost) {
            self.release(&lease).await;
        }
        end
    }

    /// Subscribes. The lease is renewed meanwhile: a broker may take longer than it lasts.
    async fn subscribe(&self, resume: Resume) -> Result<BoxSubscription, End> {
        let limit = self.settings.lease.max(SUBSCRIBED_WITHIN);
        let mut subscribing = std::pin::pin!(timeout(limit, self.source.subscribe(resume)));
        loop {
            match timeout(self.settings.lease / 3, &mut subscribing).await {
                Ok(Ok(subscribed)) => return Ok(subscribed?),
                Ok(Err(_)) => {
                    return Err(
                        SourceError::unavailable("the broker did not answer in time").into(),
                    );
                }
                Err(_) => {
                    if self.claim().await?.is_none() {
                        return Err(End::Lost);
                    }
                }
            }
        }
    }

    fn subscribed(&self) {
        if self.notes.set(SourceStatus::Subscribed) {
            tracing::info!(
                target: TARGET_CONSUME, source = &*self.name,
                "the source is subscribed",
            );
        }
    }

    async fn claim(&self) -> Result<Option<(SourceLease, Option<Cursor>)>, StoreError> {
        let claiming = self.inbox.claim(&self.name, self.id, self.settings.lease);
        match self.patience.ask(claiming).await? {
            Claim::Owned { lease, cursor } => Ok(Some((lease, cursor))),
            Claim::Taken { .. } => Ok(None),
        }
    }

    async fn release(&self, lease: &SourceLease) {
        if let Err(error) = self.patience.ask(self.inbox.release(lease)).await {
            tracing::warn!(
                target: TARGET_CONSUME, source = &*self.name, error = with_causes(&error),
                "the lease of the source was not handed back and runs out by itself",
            );
        }
    }

    /// Receives until the consumer stops.
    async fn receive(
        &self,
        subscription: &mut BoxSubscription,
        lease: &SourceLease,
    ) -> Result<(), End> {
        let most = Most {
            messages: self.settings.batch,
            bytes: self.settings.batch_bytes,
            wait: self.settings.wait(),
        };
        let mut pace = Pace::new();
        loop {
            self.wait_for_room(&mut pace).await?;
            let receiving = timeout(most.wait + self.settings.lease, subscription.receive(most));
            let received = tokio::select! {
                received = receiving => received,
                () = self.stop.cancelled() => return Ok(()),
            };
            let received = received
                .map_err(|_| SourceError::unavailable("the broker has not answered for long"))??;
            if received.messages.is_empty() && received.cursor.is_none() {
                pace.renew(self).await?;
            } else {
                self.store(received, lease, &mut pace).await?;
                let acknowledging = self.patience.wait_for(subscription.acknowledge());
                acknowledging.await.ok_or_else(|| {
                    SourceError::unavailable("the broker took no acknowledgement")
                })??;
            }
            if pace.asks_for_lag() {
                let lag = timeout(most.wait, subscription.lag()).await;
                self.notes.lag(lag.ok().and_then(Result::ok).flatten());
            }
        }
    }

    /// Waits until the inbox has room.
    async fn wait_for_room(&self, pace: &mut Pace) -> Result<(), End> {
        let limit = self.settings.max_backlog;
        while pace.may_be_full(limit) {
            pace.counted(self.patience.ask(self.inbox.backlog(limit)).await?);
            if pace.backlog < limit {
                break;
            }
            if self.notes.set(SourceStatus::Full { limit }) {
                tracing::warn!(
                    target: TARGET_CONSUME, source = &*self.name, limit,
                    "the inbox is full: nothing more is received until the handlers have caught up",
                );
            }
            if timeout(LOOK_AGAIN, self.stop.cancelled()).await.is_ok() {
                return Err(End::Stopped);
            }
            pace.renew(self).await?;
        }
        self.subscribed();
        Ok(())
    }

    /// Stores what was received. A database that is away is waited for, as long as the lease is
    /// this process's own.
    async fn store(
        &self,
        received: Received,
        lease: &SourceLease,
        pace: &mut Pace,
    ) -> Result<(), End> {
        let Received { messages, cursor } = received;
        let admitted = self.admission.admit(messages, Utc::now());
        telemetry::count_received(&self.name, "own", admitted.own);
        let batch = Batch {
            reader: self,
            lease,
            admitted: &admitted,
        };
        let span = tracing::info_span!(
            target: "bento::consume", SPAN_INGEST,
            source = &*self.name, messages = admitted.arrivals.len(),
        );
        let stored = batch.store(cursor.as_ref()).instrument(span).await?;
        pace.stored(stored);
        Ok(())
    }
}

/// The messages that are stored together.
struct Batch<'a> {
    reader: &'a Reader,
    lease: &'a SourceLease,
    admitted: &'a Admitted,
}

impl Batch<'_> {
    /// Stores them all; returns the number that is new in the inbox.
    async fn store(&self, cursor: Option<&Cursor>) -> Result<u64, End> {
        let arrivals = &self.admitted.arrivals;
        match self.try_store(arrivals, cursor).await {
            // One of them is refused: the others are not to wait for it.
            Err(End::Store(StoreError::Refused { .. })) if arrivals.len() > 1 => {
                let mut stored = 0;
                for (nth, arrival) in arrivals.iter().enumerate() {
                    let is_last = nth + 1 == arrivals.len();
                    let cursor = cursor.filter(|_| is_last);
                    stored += self
                        .try_store(std::slice::from_ref(arrival), cursor)
                        .await?;
                }
                Ok(stored)
            }
            stored => stored,
        }
    }

    async fn try_store(&self, arrivals: &[Arrival], cursor: Option<&Cursor>) -> Result<u64, End> {
        let reader = self.reader;
        let ingest = Ingest {
            source: &reader.name,
            lease: Some((self.lease, reader.settings.lease)),
            cursor,
            arrivals,
        };
        let mut failures = 0;
        loop {
            let error = match reader.patience.ask(reader.inbox.ingest(ingest)).await {
                Ok(ingested) => return Ok(reader.count(&ingested)),
                Err(IngestError::LeaseLost { .. }) => {
                    tracing::warn!(
                        target: TARGET_CONSUME, source = &*reader.name,
                        "the lease of the source was lost: another process has taken it over",
                    );
                    return Err(End::Lost);
                }
                Err(IngestError::Store(error @ StoreError::Refused { .. })) => {
                    if let [arrival] = arrivals {
                        reader.stands_still(arrival, error);
                    } else {
                        return Err(End::Store(error));
                    }
                    None
                }
                Err(IngestError::Store(error)) => Some(error),
                Err(error) => Some(StoreError::unavailable(error)),
            };
            if let Some(error) = error {
                reader.note(End::Store(error));
            }
            failures += 1;
            let wait = RETRY.wait(failures, &mut fastrand::Rng::new());
            if timeout(wait, reader.stop.cancelled()).await.is_ok() {
                return Err(End::Stopped);
            }
        }
    }
}

impl Reader {
    /// Counts the outcome of a batch, and wakes the relay. Returns the number of events that are
    /// new in the inbox.
    fn count(&self, ingested: &Ingested) -> u64 {
        count(&self.name, ingested);
        self.subscribed();
        self.notes.stored();
        let shards: Vec<_> = ingested.shards.iter().copied().collect();
        self.wake.wake(&shards);
        ingested.stored as u64
    }

    /// Notes that the database refuses one message. The source stands still: nothing is lost.
    fn stands_still(&self, arrival: &Arrival, error: StoreError) {
        let which = match arrival {
            Arrival::Event(event) | Arrival::Refused { event, .. } => {
                format!("event {} of type `{}`", event.event_id, event.event_type)
            }
            Arrival::Unreadable(message) => format!("the message at {}", message.raw.place),
        };
        let bytes = match arrival {
            Arrival::Event(event) | Arrival::Refused { event, .. } => event.payload.len(),
            Arrival::Unreadable(message) => message.raw.body.len(),
        };
        let refused = SourceError::refused(format!(
            "the database refuses to store {which}, which has {bytes} bytes, and the source stands \
             still: allow it in the database (its largest packet or row), or remove the message \
             from the broker"
        ));
        let refused = refused.because(error);
        let text = refused.chain();
        if self.notes.fail(refused) {
            tracing::error!(
                target: TARGET_CONSUME, source = &*self.name, error = text,
                "a source stands still",
            );
        }
    }
}

/// Counts the outcome of messages.
pub(super) fn count(source: &str, ingested: &Ingested) {
    telemetry::count_received(source, "stored", ingested.stored);
    telemetry::count_received(source, "repeated", ingested.repeated);
    telemetry::count_received(source, "ignored", ingested.ignored);
    telemetry::count_received(source, "refused", ingested.dead.len());
    for cause in &ingested.dead {
        tracing::warn!(
            target: TARGET_CONSUME, source, cause,
            "a message became a dead letter of the inbox",
        );
    }
}

/// The moments at which a reader does what it does not do each time.
struct Pace {
    renewed: Instant,
    asked: Option<Instant>,
    counted: Option<Instant>,
    /// The events in the inbox when they were counted, and those stored since.
    backlog: u64,
}

impl Pace {
    fn new() -> Self {
        Self {
            renewed: Instant::now(),
            asked: None,
            counted: None,
            backlog: 0,
        }
    }

    /// Renews the lease, if that was long ago.
    async fn renew(&mut self, reader: &Reader) -> Result<(), End> {
        if self.renewed.elapsed() >= reader.settings.lease / 3 {
            if reader.claim().await?.is_none() {
                return Err(End::Lost);
            }
            self.renewed = Instant::now();
        }
        Ok(())
    }

    fn asks_for_lag(&mut self) -> bool {
        let asks = self.asked.is_none_or(|asked| asked.elapsed() >= LAG_EVERY);
        if asks {
            self.asked = Some(Instant::now());
        }
        asks
    }

    /// True if the inbox has to be counted: nothing is known of it, or what was stored since the
    /// last count may have filled it.
    fn may_be_full(&self, limit: u64) -> bool {
        let is_known = self
            .counted
            .is_some_and(|counted| counted.elapsed() < LAG_EVERY);
        !is_known || self.backlog >= limit
    }

    fn counted(&mut self, backlog: u64) {
        (self.counted, self.backlog) = (Some(Instant::now()), backlog);
    }

    /// Notes that a batch was stored, which has renewed the lease.
    fn stored(&mut self, events: u64) {
        self.renewed = Instant::now();
        self.backlog = self.backlog.saturating_add(events);
    }
}
