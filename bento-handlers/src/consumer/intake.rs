//! The way into the inbox for messages that are pushed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bento_relay::Wake;
use bento_relay::source::{Intake, IntakeError, Message, Taken};
use bento_seaorm::Inbox;
use bento_seaorm::inbox::Ingest;
use chrono::Utc;

use super::admission::Admission;
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
}

impl InboxIntake {
    pub(super) fn new(
        name: String,
        inbox: Inbox,
        admission: Admission,
        max_backlog: u64,
        wake: Wake,
    ) -> Self {
        Self(Arc::new(Inner {
            name,
            inbox,
            admission,
            max_backlog,
            wake,
        }))
    }
}

impl Inner {
    async fn take(&self, messages: Vec<Message>) -> Result<Taken, IntakeError> {
        let unavailable =
            |source: Box<dyn std::error::Error + Send + Sync>| IntakeError::Unavailable { source };
        let limit = self.max_backlog;
        let length = self.inbox.backlog(limit).await;
        let length = length.map_err(|error| unavailable(error.into()))?;
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
        let ingest = Ingest {
            source: &self.name,
            lease: None,
            cursor: None,
            arrivals: &admitted.arrivals,
        };
        let ingested = self.inbox.ingest(ingest).await;
        let ingested = ingested.map_err(|error| unavailable(error.into()))?;
        count(&self.name, &ingested);
        let shards: Vec<_> = ingested.shards.iter().copied().collect();
        self.wake.wake(&shards);
        let mut taken = Taken::default();
        taken.stored = ingested.stored;
        taken.repeated = ingested.repeated;
        taken.ignored = ingested.ignored + admitted.own;
        taken.refused = ingested.dead.len();
        Ok(taken)
    }
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
