//! What the relays have to tell and ask each other, through the store, about a destination that is away.
//!
//! An errand is there as soon as a circuit has opened or closed, and when something is there to try a destination with whose
//! pause is over. While all circuits are closed there is none. If the store cannot be asked, the relay tries for itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Breakers, Open, State, Turn};
use crate::relay::store::TrialClaim;

/// How long a relay waits before it asks again whose turn it is, at most: so soon each of them learns that a destination is back.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How much later than it was told to a relay asks, at most.
pub(super) const SPREAD: Duration = Duration::from_millis(250);

/// Something to tell the store, or to ask it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::relay) enum Errand {
    /// A destination was found to be away, and is to be left alone for so long.
    Open { destination: Arc<str>, trials: u32, pause: Duration },
    /// A destination is back.
    Close { destination: Arc<str> },
    /// A destination may be tried, if it is this relay's turn.
    Claim { destination: Arc<str> },
}

/// What the other relays have not been told yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Opened,
    Closed,
}

impl Breakers {
    /// What is to be told or asked now, each once.
    pub(in crate::relay) fn next_errand(&self, now: Instant) -> Option<Errand> {
        self.states().iter_mut().find_map(|(destination, state)| state.errand(destination, now))
    }

    /// When there is something to ask again.
    pub(in crate::relay) fn next_question(&self) -> Option<Instant> {
        let states = self.states();
        let wanted = states.values().filter_map(|state| state.open.as_ref()).filter(|open| open.turn == Turn::Wanted);
        wanted.map(|open| open.until).min()
    }

    /// Notes that the others could not be told that a destination is back. They are told again.
    pub(in crate::relay) fn untold(&self, destination: &str) {
        if let Some(state) = self.states().get_mut(destination).filter(|state| state.open.is_none()) {
            state.news.get_or_insert(News::Closed);
        }
    }

    /// Waits until there may be an errand. Cancelling it loses nothing.
    pub(in crate::relay) async fn has_errands(&self) {
        self.errands.notified().await;
    }

    /// Takes the answer to a claim, for a trial that begins before `until`; none if the store could not be asked. Returns whether the
    /// destination may be tried now.
    pub(in crate::relay) fn claimed(
        &self,
        destination: &str,
        claim: Option<TrialClaim>,
        now: Instant,
        until: Instant,
    ) -> bool {
        let mut states = self.states();
        let asked = states.get_mut(destination).and_then(|state| state.open.as_mut());
        let Some(open) = asked.filter(|open| open.turn == Turn::Asked) else { return false };
        match claim {
            Some(TrialClaim::Later(wait)) => {
                // By chance: else the relay that is nearest to the database would have each turn.
                let wait = wait.min(ASK_AGAIN) + SPREAD.mul_f64(fastrand::f64());
                *open = Open { until: now + wait, turn: Turn::Wanted, ..*open };
                return false;
            }
            Some(TrialClaim::Granted { trials }) => open.trials = trials,
            Some(TrialClaim::Closed) | None => open.trials = open.trials.saturating_add(1),
        }
        open.turn = Turn::Own(until);
        true
    }
}

impl State {
    fn errand(&mut self, destination: &Arc<str>, now: Instant) -> Option<Errand> {
        let destination = || Arc::clone(destination);
        match (self.news.take(), &mut self.open) {
            (Some(News::Closed), _) => Some(Errand::Close { destination: destination() }),
            (Some(News::Opened), Some(open)) => {
                let pause = open.until.saturating_duration_since(now);
                Some(Errand::Open { destination: destination(), trials: open.trials, pause })
            }
            (_, Some(open)) if open.turn == Turn::Wanted && open.until <= now => {
                open.turn = Turn::Asked;
                Some(Errand::Claim { destination: destination() })
            }
            _ => None,
        }
    }
}
