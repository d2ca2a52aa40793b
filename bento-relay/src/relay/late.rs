//! The waves that a worker listens for: those of its batch, and those that its batches waited for
//! no longer.

use std::fmt;
use std::future::{Future, pending};

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, FuturesUnordered};

use super::breaker::{Postponed, Trial};
use super::send::Sent;
use crate::machine::Wave;

/// What a worker sends, and what it hears of it.
pub(super) trait Calls: Send {
    /// Hands a wave to the publisher.
    fn send(&mut self, wave: Wave, trial: Option<Trial>);

    /// Notes that a wave is late. No other one is sent to its destination until it is back.
    fn postpone(&mut self, postponed: Postponed);

    /// The next wave that comes back; waits for ever if none is out. Nothing is lost if it is
    /// dropped before.
    fn next(&mut self) -> impl Future<Output = Sent> + Send;
}

/// The waves that are out. `C` makes the call for one.
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

    /// What is still out after the last batch.
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

    /// The next one that comes back, and the others; `None` if there is none.
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

/// A wave with what says that it is late, if it is: where one is late, all are.
fn marked(sent: Sent, late: &mut Vec<Postponed>) -> Sent {
    let mark = late
        .iter()
        .position(|postponed| postponed.is_to(sent.wave.destination()));
    Sent {
        postponed: mark.map(|index| late.swap_remove(index)),
        ..sent
    }
}
