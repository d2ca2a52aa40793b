//! The alerts of dead letters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::dead_letter::{AlertOutcome, DeadLetter, DeadLetterKey};

/// The alerts that were taken, by dead letter.
#[derive(Debug, Default)]
pub(super) struct Alerts(BTreeMap<DeadLetterKey, Alert>);

/// The alert of one dead letter.
#[derive(Debug)]
struct Alert {
    /// The time at which the dead letter was written: an event that dies again gets another alert.
    failed_at: DateTime<Utc>,
    /// The time from which the alert is due again; `None` once it was delivered.
    due: Option<Duration>,
}

impl Alerts {
    /// True if the alert of a dead letter was never taken, or is due again.
    pub(super) fn is_due(&self, dead: &DeadLetter, now: Duration) -> bool {
        let alert = self
            .0
            .get(&key(dead))
            .filter(|alert| alert.failed_at == dead.failed_at);
        alert.is_none_or(|alert| alert.due.is_some_and(|due| due <= now))
    }

    /// Takes the alerts of these dead letters; each is due again unless it is settled before.
    pub(super) fn take(&mut self, dead_letters: &[DeadLetter], due: Duration) {
        for dead in dead_letters {
            let alert = Alert {
                failed_at: dead.failed_at,
                due: Some(due),
            };
            self.0.insert(key(dead), alert);
        }
    }

    /// Records the outcome of alerts that were taken.
    pub(super) fn settle(
        &mut self,
        dead_letters: &[DeadLetter],
        outcome: AlertOutcome,
        now: Duration,
    ) {
        let due = match outcome {
            AlertOutcome::Told => None,
            AlertOutcome::Failed(wait) => Some(now.saturating_add(wait)),
        };
        for dead_letter in dead_letters {
            let alert = self.0.get_mut(&key(dead_letter));
            if let Some(alert) = alert.filter(|alert| alert.failed_at == dead_letter.failed_at) {
                alert.due = due;
            }
        }
    }

    /// Forgets the alert of a dead letter that was replayed or discarded.
    pub(super) fn forget(&mut self, dead_letter: &DeadLetterKey) {
        self.0.remove(dead_letter);
    }
}

fn key(dead_letter: &DeadLetter) -> DeadLetterKey {
    (
        dead_letter.envelope.event_id,
        Arc::clone(&dead_letter.route),
    )
}
