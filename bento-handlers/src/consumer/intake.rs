//! The way into the inbox for messages that are pushed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bento_relay::source::{Intake, IntakeError, Message, Taken};
use bento_relay::{StoreError, Wake};
use bento_seaorm::Inbox;
use bento_seaorm::inbox::{Arrival, Ingest, IngestError};
use chrono::Utc;

use super::admission::Admission;
use super::patience::Patience;
use super::reader::count;
use crate::telemetry;

/// The time after which a sender that was turned away may come again.
const COME_AGAIN: Duration = Duration::from_secs(5);

/// The way into the inbox for messages that are pushed; made by
/// [`ConsumerHandle::intake`](super::ConsumerHandle::intake). Cheap to clone.
#[derive(Clone, Debug)]
pub struct InboxIntake(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    inbox: Inbox,
    admission: Admission,
    max_backlog: u64,
    wake: Wake,
    patience: Patience,
}

impl InboxIntake {
    pub(super) fn new(
        name: String,
        inbox: Inbox,
        admission: Admission,
        max_backlog: u64,
        wake: Wake,
        patience: Patience,
    ) -> Self {
        Self(Arc::new(Inner {
            name,
            inbox,
            admission,
            max_backlog,
            wake,
            patience,
        }))
    }
}

impl Inner {
    async fn take(&self, messages: Vec<Message>) -> Result<Taken, IntakeError> {
        let limit = self.max_backlog;
        let counting = self
            .patience
            .ask::<_, StoreError>(self.inbox.backlog(limit));
        let length = counting.await.map_err(unavailable)?;
        if length >= limit {
            let retry_after = COME_AGAIN;
            return Err(IntakeError::Full {
                length,
                limit,
                retry_after,
            });
        }
        let admitted = self.admission.admit(messages, Utc::now());
        telemetry::count_received(&self.name, "own", admitted.own);
        let mut taken = Taken::default();
        taken.ignored = admitted.own;
        match self.store(&admitted.arrivals, &mut taken).await {
            // One of them is refused: the others are not to be sent again for ever.
            Err(IngestError::Store(StoreError::Refused { .. })) => {
                self.store_each(&admitted.arrivals, &mut taken).await?;
            }
            stored => stored.map_err(unavailable)?,
        }
        Ok(taken)
    }

    /// Stores arrivals together.
    async fn store(&self, arrivals: &[Arrival], taken: &mut Taken) -> Result<(), IngestError> {
        let ingest = Ingest {
            source: &self.name,
            lease: None,
            cursor: None,
            arrivals,
        };
        let ingested = self.patience.ask(self.inbox.ingest(ingest)).await?;
        count(&self.name, &ingested);
        let shards: Vec<_> = ingested.shards.iter().copied().collect();
        self.wake.wake(&shards);
        taken.stored += ingested.stored;
        taken.repeated += ingested.repeated;
        taken.ignored += ingested.ignored;
        taken.refused += ingested.dead.len();
        Ok(())
    }

    /// Stores arrivals one by one.
    async fn store_each(&self, arrivals: &[Arrival], taken: &mut Taken) -> Result<(), IntakeError> {
        let mut refused: Vec<StoreError> = Vec::new();
        for arrival in arrivals {
            match self.store(std::slice::from_ref(arrival), taken).await {
                Err(IngestError::Store(error @ StoreError::Refused { .. })) => refused.push(error),
                stored => stored.map_err(unavailable)?,
            }
        }
        let count = refused.len();
        match refused.pop() {
            None => Ok(()),
            Some(error) => Err(IntakeError::Refused {
                refused: count,
                count: arrivals.len(),
                source: error.into(),
            }),
        }
    }
}

fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> IntakeError {
    let source = error.into();
    IntakeError::Unavailable { source }
}

impl Intake for InboxIntake {
    fn take(
        &self,
        messages: Vec<Message>,
    ) -> Pin<Box<dyn Future<Output = Result<Taken, IntakeError>> + Send + '_>> {
        Box::pin(self.0.take(messages))
    }

    fn name(&self) -> &str {
        &self.0.name
    }
}
