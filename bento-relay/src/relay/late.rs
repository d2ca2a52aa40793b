//! The waves that a worker listens for: those of its batch, and the late ones of its earlier
//! batches.
//!
//! Decision: docs/decisions/0024-a-late-answer-is-taken-by-a-later-batch.md

use std::fmt;
use std::future::{Future, pending};

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, FuturesUnordered};

use super::breaker::{Postponed, Trial};
use super::send::Sent;
use crate::machine::Wave;

/// The calls of the publisher that a worker makes, and their answers.
pub(super) trait Calls: Send {
    /// Hands a wave to the publisher.
    fn send(&mut self, wave: Wave, trial: Option<Trial>);

    /// Marks a wave as late. Until it returns, its destination gets no other wave.
    fn postpone(&mut self, postponed: Postponed);

    /// Returns the next finished wave; waits for ever if none is out. Dropping the future loses
    /// nothing.
    fn next(&mut self) -> impl Future<Output = Sent> + Send;
}

/// The waves that are out. `C` makes the call for one of them.
pub(super) struct Out<C, F> {
    call: C,
    calls: FuturesUnordered<F>,
    late: Vec<Postponed>,
}

impl<C, F: Future<Output = Sent> + Send + 'static> Out<C, F> {
    pub(super) fn new(call: C) -> Self {
        Self {
            call,
            calls: FuturesUnordered::new(),
            late: Vec::new(),
        }
    }

    /// Returns the waves that are still out after the last batch.
    pub(super) fn into_late(self) -> Option<LateWaves> {
        let Self { calls, late, .. } = self;
        (!calls.is_empty()).then(|| LateWaves {
            calls: calls.boxed(),
            late,
        })
    }
}

impl<C, F> Calls for Out<C, F>
where
    C: Fn(Wave, Option<Trial>) -> F + Send,
    F: Future<Output = Sent> + Send + 'static,
{
    fn send(&mut self, wave: Wave, trial: Option<Trial>) {
        self.calls.push((self.call)(wave, trial));
    }

    fn postpone(&mut self, postponed: Postponed) {
        self.late.push(postponed);
    }

    async fn next(&mut self) -> Sent {
        match self.calls.next().await {
            Some(sent) => marked(sent, &mut self.late),
            None => pending().await,
        }
    }
}

/// Late waves whose worker has ended.
pub(super) struct LateWaves {
    calls: BoxStream<'static, Sent>,
    late: Vec<Postponed>,
}

impl LateWaves {
    pub(super) fn len(&self) -> usize {
        self.late.len()
    }

    /// Returns the next finished wave and the others; `None` if none is left.
    pub(super) async fn next(mut self) -> Option<(Sent, Self)> {
        let sent = self.calls.next().await?;
        Some((marked(sent, &mut self.late), self))
    }
}

impl fmt::Debug for LateWaves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LateWaves")
            .field("late", &self.late)
            .finish_non_exhaustive()
    }
}

/// Attaches the lateness to a wave, if it is late. In one call either all waves are late or none.
fn marked(sent: Sent, late: &mut Vec<Postponed>) -> Sent {
    let mark = late
        .iter()
        .position(|postponed| postponed.is_to(sent.wave.destination()));
    Sent {
        postponed: mark.map(|index| late.swap_remove(index)),
        ..sent
    }
}
