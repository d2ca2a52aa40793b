//! The calls of the publisher that a worker listens for: those of its batch, and the late ones of
//! its earlier batches.
//!
//! Decision: docs/decisions/0024-a-late-answer-is-taken-by-a-later-batch.md

use std::fmt;
use std::future::{Future, pending};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use super::breaker::Postponed;
use super::send::Sent;

/// The calls of the publisher that have not returned, each for one wave.
#[derive(Default)]
pub(super) struct InFlight {
    running: FuturesUnordered<BoxFuture<'static, Sent>>,
    /// One for each call whose wave is late.
    late: Vec<Postponed>,
}

impl InFlight {
    /// Adds a call.
    pub(super) fn start(&mut self, call: impl Future<Output = Sent> + Send + 'static) {
        self.running.push(Box::pin(call));
    }

    /// Marks a wave as late. Until it returns, its destination gets no other wave.
    pub(super) fn postpone(&mut self, postponed: Postponed) {
        self.late.push(postponed);
    }

    /// Returns the next finished wave; waits for ever if none is out. Dropping the future loses
    /// nothing.
    pub(super) async fn next(&mut self) -> Sent {
        match self.running.next().await {
            Some(sent) => self.marked(sent),
            None => pending().await,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// Attaches the lateness to a wave, if it is late. To one destination either all waves are
    /// late or none.
    fn marked(&mut self, sent: Sent) -> Sent {
        let mark = self
            .late
            .iter()
            .position(|postponed| postponed.is_to(sent.wave.destination()));
        Sent {
            postponed: mark.map(|index| self.late.swap_remove(index)),
            ..sent
        }
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight")
            .field("running", &self.running.len())
            .field("late", &self.late)
            .finish()
    }
}
