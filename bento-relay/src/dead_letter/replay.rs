//! Replaying all matching dead letters, and the dry run.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bento_core::codec::DecodeError;
use bento_core::id::EventId;
use bento_core::outbox::ShardId;
use bento_core::registry::Registry;
use bento_core::report::with_causes;

use super::{DeadLetter, DeadLetterFilter, DeadLetterKey, DeadLetters, amendment};
use crate::store::{NewDeadLetter, StoreError};

/// The largest number of dead letters in one page and one transaction.
pub(super) const PAGE: u64 = 100;

/// The outcome of the replay of one dead letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// True if the dead letter existed and is now due again.
    pub replayed: bool,
    /// True if later events of the aggregate may have been published already, so that this one is
    /// late, because it did not park its aggregate. Always false for an event without order.
    pub later_ones_out: bool,
}

/// The choice between a replay and a dry run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplayMode {
    /// Changes nothing: decodes each event with this binary, checks its headers, and reports
    /// problems.
    DryRun,
    /// Makes the dead letters due. Nothing is decoded: the relay also publishes event types that
    /// this binary does not know.
    Replay,
}

/// The outcome of a replay or a dry run of all matching dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayReport {
    /// The number of matching dead letters.
    pub matched: u64,
    /// The number of dead letters that are due again; 0 after a dry run.
    pub replayed: u64,
    /// The number of matching dead letters with a problem in a dry run, by kind of problem. One
    /// dead letter can have several.
    pub counts: BTreeMap<Problem, u64>,
    /// The first problems, at most [`PROBLEMS`](Self::PROBLEMS), in the order of replay.
    pub problems: Vec<ReplayProblem>,
}

impl ReplayReport {
    /// The largest number of problems in [`problems`](Self::problems).
    pub const PROBLEMS: usize = 100;

    /// The number of problems of one kind.
    pub fn count(&self, problem: Problem) -> u64 {
        self.counts.get(&problem).copied().unwrap_or(0)
    }

    fn note(&mut self, dead_letter: &DeadLetter, problem: Problem, detail: String) {
        *self.counts.entry(problem).or_default() += 1;
        if self.problems.len() < Self::PROBLEMS {
            self.problems.push(ReplayProblem {
                event_id: dead_letter.envelope.event_id,
                route: Arc::clone(&dead_letter.route),
                event_type: dead_letter.envelope.event_type.clone().into_owned(),
                problem,
                detail,
            });
        }
    }
}

/// A problem that a dry run found in one dead letter. Only [`Problem::NotReplayable`] prevents the
/// replay.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayProblem {
    /// The event id.
    pub event_id: EventId,
    /// The route.
    pub route: Arc<str>,
    /// The event type.
    pub event_type: String,
    /// The kind of problem.
    pub problem: Problem,
    /// The problem in words.
    pub detail: String,
}

impl fmt::Display for ReplayProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (event_type, route) = (self.event_type.escape_debug(), self.route.escape_debug());
        write!(
            f,
            "{} `{event_type}` for `{route}`: {}",
            self.event_id, self.detail
        )
    }
}

/// The kinds of problems of a dead letter that is to be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Problem {
    /// This binary has no event of this event type.
    UnknownEventType,
    /// The event was written by a later release.
    NewerVersion,
    /// The version of the event is retired.
    Retired,
    /// The payload does not match the fields of the event.
    Malformed,
    /// The aggregate was not parked: later events may have been published already.
    LaterOnesOut,
    /// The row could not be read; a replay leaves it out.
    NotReplayable,
    /// The headers cannot be read, or one of them cannot be sent, so the publisher would refuse the
    /// event again: [amend](DeadLetters::amend) it first.
    UnsendableHeaders,
    /// The event was not delivered before its deadline, and will be given up again unless the route
    /// has a later deadline now.
    Expired,
}

/// A place in the order of replay.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShardCursor {
    /// The shard.
    pub shard: ShardId,
    /// The original position.
    pub position: i64,
    /// The route.
    pub route: Arc<str>,
}

impl ShardCursor {
    /// The place of a dead letter.
    pub fn of(dead_letter: &DeadLetter) -> Self {
        Self {
            shard: dead_letter.shard,
            position: dead_letter.position,
            route: Arc::clone(&dead_letter.route),
        }
    }
}

/// Walks through the dead letters by shard and position. A replayed event that fails again becomes
/// a dead letter behind the cursor, so the walk ends; an earlier dead letter of a stream is never
/// in a later transaction.
pub(super) async fn replay_all<S: DeadLetters + ?Sized>(
    store: &S,
    filter: &DeadLetterFilter,
    mode: ReplayMode,
) -> Result<ReplayReport, StoreError> {
    let mut report = ReplayReport::default();
    let mut after: Option<ShardCursor> = None;
    loop {
        let page = store.list_in_order(filter, after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(report);
        };
        after = Some(ShardCursor::of(last));
        report.matched += page.len() as u64;
        match mode {
            ReplayMode::DryRun => page
                .iter()
                .for_each(|dead_letter| look_at(dead_letter, &mut report)),
            ReplayMode::Replay => {
                for (shard, dead_letters) in by_shard(&page) {
                    report.replayed += store.replay_together(shard, &dead_letters).await?;
                }
            }
        }
    }
}

/// The dead letters of each shard, in their order.
pub(super) fn by_shard(page: &[DeadLetter]) -> Vec<(ShardId, Vec<DeadLetterKey>)> {
    let key = |dead_letter: &DeadLetter| {
        (
            dead_letter.envelope.event_id,
            Arc::clone(&dead_letter.route),
        )
    };
    let shards = page.chunk_by(|one, next| one.shard == next.shard);
    shards
        .map(|dead_letters| {
            (
                dead_letters[0].shard,
                dead_letters.iter().map(key).collect(),
            )
        })
        .collect()
}

fn look_at(dead_letter: &DeadLetter, report: &mut ReplayReport) {
    if dead_letter.raw.is_some() {
        let detail = "its row could not be read, so it is not replayed: write its event anew, and \
                      discard the dead letter";
        return report.note(dead_letter, Problem::NotReplayable, detail.to_owned());
    }
    if let Some((problem, detail)) = unreadable(dead_letter) {
        report.note(dead_letter, problem, detail);
    }
    if let Some(obstacle) = amendment::obstacle(&dead_letter.envelope) {
        report.note(
            dead_letter,
            Problem::UnsendableHeaders,
            format!("{obstacle} (amend the dead letter before its replay)"),
        );
    }
    if dead_letter.later_ones_out() {
        let detail = "it did not park its aggregate, so later events may be published already";
        report.note(dead_letter, Problem::LaterOnesOut, detail.to_owned());
    }
    if dead_letter.cause == NewDeadLetter::EXPIRED {
        let detail =
            "it has expired and is given up again, unless its route now has a later deadline";
        report.note(dead_letter, Problem::Expired, detail.to_owned());
    }
}

/// Returns the reason why this binary cannot read the event. Payloads that were enqueued as bytes,
/// and encoded ones, are not read.
fn unreadable(dead_letter: &DeadLetter) -> Option<(Problem, String)> {
    let event = &dead_letter.envelope;
    if event.schema_version == 0 || event.content_encoding.is_some() {
        return None;
    }
    let error = Registry::global()
        .decode(&event.event_type, event.schema_version, &event.payload)
        .err()?;
    let problem = match error {
        DecodeError::UnknownEventType { .. } => Problem::UnknownEventType,
        DecodeError::NewerVersion { .. } => Problem::NewerVersion,
        DecodeError::Retired { .. } => Problem::Retired,
        _ => Problem::Malformed,
    };
    Some((problem, with_causes(&error)))
}
