//! What the relays of one outbox tell each other about a destination that is away.

use std::sync::Arc;
use std::time::Duration;

use super::RelayId;

/// A destination was found to be away: its circuit opens, or stays open after a trial that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Who found it.
    pub relay: RelayId,
    /// Its name.
    pub destination: Arc<str>,
    /// How many trials have failed in a row, as far as the relay knows; 0 when its circuit has just opened.
    pub trials: u32,
    /// How long nobody tries it from now.
    pub pause: Duration,
    /// How long after it was due a trial that nobody claimed belongs to an earlier outage: its count is not carried on.
    pub stale: Duration,
}

/// Whether a relay may try a destination that is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialClaim {
    /// It may, and no other relay does meanwhile.
    Granted {
        /// How many trials in a row there are with this one.
        trials: u32,
    },
    /// Not before so much time has passed, by the store's clock; another relay may be quicker then.
    Later(Duration),
    /// The circuit is recorded as open no more: a trial of another relay went well. It may try for itself.
    Closed,
}
