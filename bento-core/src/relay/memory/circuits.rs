//! Destinations that are away, and when each is tried again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::inspect::CircuitState;
use crate::relay::store::{Opening, RelayId, TrialClaim};

/// The circuits that are open.
#[derive(Debug, Default)]
pub(super) struct Circuits(BTreeMap<Arc<str>, Circuit>);

#[derive(Debug)]
struct Circuit {
    trials: u32,
    next_trial: Duration,
    /// Whose trial it is.
    owner: Option<RelayId>,
}

impl Circuits {
    pub(super) fn open(&mut self, opening: Opening, now: Duration) {
        let Opening { relay, destination, trials, pause, stale } = opening;
        let next_trial = now.saturating_add(pause);
        let circuit = self.0.entry(destination).or_insert(Circuit { trials, next_trial, owner: None });
        if circuit.next_trial.saturating_add(stale) < now {
            circuit.trials = trials;
        }
        if circuit.owner == Some(relay) || circuit.next_trial < next_trial {
            circuit.next_trial = next_trial;
            circuit.owner = None;
        }
    }

    pub(super) fn claim(&mut self, relay: RelayId, destination: &str, hold: Duration, now: Duration) -> TrialClaim {
        let Some(circuit) = self.0.get_mut(destination) else { return TrialClaim::Closed };
        if circuit.next_trial > now {
            return TrialClaim::Later(circuit.next_trial - now);
        }
        circuit.trials = circuit.trials.saturating_add(1);
        circuit.next_trial = now.saturating_add(hold);
        circuit.owner = Some(relay);
        TrialClaim::Granted { trials: circuit.trials }
    }

    pub(super) fn close(&mut self, destination: &str) {
        self.0.remove(destination);
    }

    pub(super) fn states(&self, now: Duration) -> Vec<CircuitState> {
        let state = |(destination, circuit): (&Arc<str>, &Circuit)| CircuitState {
            destination: Arc::clone(destination),
            trials: circuit.trials,
            next_trial_in: circuit.next_trial.checked_sub(now).filter(|left| !left.is_zero()),
        };
        self.0.iter().map(state).collect()
    }
}
