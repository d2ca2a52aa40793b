//! The notes of a reader about its source, for health and metrics.

use std::sync::Arc;
use std::time::Duration;

use bento_relay::source::SourceError;
use tokio::sync::watch;
use tokio::time::Instant;

use super::health::{SourceHealth, SourceStatus};
use crate::telemetry;

/// The notes about one source.
#[derive(Clone, Debug)]
pub(super) struct Notes {
    pub(super) name: Arc<str>,
    sender: Arc<watch::Sender<State>>,
}

#[derive(Debug)]
struct State {
    status: SourceStatus,
    /// The error behind the status, until somebody takes it.
    error: Option<SourceError>,
    /// The time at which the failure was told last.
    told_at: Option<Instant>,
    stored_at: Option<Instant>,
    lag: Option<u64>,
}

/// The interval at which a failure that lasts is told again.
const TELL_EVERY: Duration = Duration::from_secs(60);

impl Notes {
    pub(super) fn new(name: Arc<str>) -> Self {
        let state = State {
            status: SourceStatus::Starting,
            error: None,
            told_at: None,
            stored_at: None,
            lag: None,
        };
        Self {
            name,
            sender: Arc::new(watch::Sender::new(state)),
        }
    }

    pub(super) fn health(&self) -> SourceHealth {
        let state = self.sender.borrow();
        SourceHealth {
            status: state.status.clone(),
            last_stored: state.stored_at.map(|at| at.elapsed()),
            lag: state.lag,
        }
    }

    /// Notes a status; returns true if it is new.
    pub(super) fn set(&self, status: SourceStatus) -> bool {
        let reads = matches!(status, SourceStatus::Subscribed | SourceStatus::Full { .. });
        telemetry::set_subscribed(&self.name, reads);
        if !reads {
            self.lag(None);
        }
        self.sender.send_if_modified(|state| {
            let is_new = state.status != status;
            if is_new {
                state.status = status;
                state.error = None;
            }
            is_new
        })
    }

    /// Notes a failure; returns true if it is to be told: it is new, or was told long ago.
    pub(super) fn fail(&self, failed: SourceError) -> bool {
        let error = failed.chain();
        let status = match failed.is_refused() {
            true => SourceStatus::Refused { error },
            false => SourceStatus::Unavailable { error },
        };
        telemetry::set_subscribed(&self.name, false);
        self.lag(None);
        let mut is_to_be_told = false;
        self.sender.send_modify(|state| {
            let is_recent = state
                .told_at
                .is_some_and(|told| told.elapsed() < TELL_EVERY);
            is_to_be_told = state.status != status || !is_recent;
            if is_to_be_told {
                state.told_at = Some(Instant::now());
            }
            state.status = status;
            state.error = Some(failed);
        });
        is_to_be_told
    }

    pub(super) fn stored(&self) {
        self.sender.send_if_modified(|state| {
            state.stored_at = Some(Instant::now());
            false
        });
    }

    pub(super) fn lag(&self, lag: Option<u64>) {
        telemetry::set_lag(&self.name, lag);
        self.sender.send_if_modified(|state| {
            state.lag = lag;
            false
        });
    }

    /// Waits until the source is read here or elsewhere, or refused.
    ///
    /// # Errors
    /// The refusal; or the last failure, after `limit`.
    pub(super) async fn ready(&self, limit: Duration) -> Result<(), SourceError> {
        let mut changes = self.sender.subscribe();
        let is_decided = |state: &State| {
            state.status.is_ready() || matches!(state.status, SourceStatus::Refused { .. })
        };
        let waited = tokio::time::timeout(limit, changes.wait_for(is_decided)).await;
        if let Ok(Ok(state)) = waited
            && state.status.is_ready()
        {
            return Ok(());
        }
        let mut error = None;
        self.sender.send_if_modified(|state| {
            error = state.error.take();
            false
        });
        Err(error.unwrap_or_else(|| SourceError::unavailable("there was no answer yet")))
    }
}
