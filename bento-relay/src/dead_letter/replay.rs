//! Making dead letters due again, all that match, or only saying what would happen.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bento_core::codec::DecodeError;
use bento_core::id::EventId;
use bento_core::outbox::ShardId;
use bento_core::registry::Registry;
use bento_core::report::with_causes;

use super::{DeadLetter, DeadLetterFilter, DeadLetters, LetterKey, amendment};
use crate::store::{Burial, StoreError};

/// How many dead letters one page and one transaction hold at most.
pub(super) const PAGE: u64 = 100;

/// What the replay of one dead letter did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Whether the dead letter was there and is now due again.
    pub replayed: bool,
    /// Whether later events of its aggregate may be out already, so that it arrives late: it did
    /// not park its aggregate. Never for an event without order.
    pub later_ones_out: bool,
}

/// Whether to replay, or only to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplayMode {
    /// Changes nothing: decodes each event with this binary, checks its headers, and reports.
    DryRun,
    /// Makes them due. Nothing is decoded: the relay passes on events that this binary does not
    /// know.
    Replay,
}

/// What replaying all that match did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayReport {
    /// How many matched.
    pub matched: u64,
    /// How many are due again; 0 after a dry run.
    pub replayed: u64,
    /// Of those that matched, how many a dry run found a problem with, by kind. One letter can have
    /// several.
    pub counts: BTreeMap<Problem, u64>,
    /// The first problems, at most [`PROBLEMS`](Self::PROBLEMS), in the order of replay.
    pub problems: Vec<ReplayProblem>,
}

impl ReplayReport {
    /// How many problems are listed one by one.
    pub const PROBLEMS: usize = 100;

    /// How many of a kind there are.
    pub fn count(&self, problem: Problem) -> u64 {
        self.counts.get(&problem).copied().unwrap_or(0)
    }

    fn note(&mut self, letter: &DeadLetter, problem: Problem, detail: String) {
        *self.counts.entry(problem).or_default() += 1;
        if self.problems.len() < Self::PROBLEMS {
            self.problems.push(ReplayProblem {
                event_id: letter.envelope.event_id,
                route: Arc::clone(&letter.route),
                event_type: letter.envelope.event_type.clone().into_owned(),
                problem,
                detail,
            });
        }
    }
}

/// Something that a dry run found about one dead letter. Only [`Problem::NotReplayable`] keeps it
/// from being replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayProblem {
    /// The event.
    pub event_id: EventId,
    /// The route.
    pub route: Arc<str>,
    /// Its event type.
    pub event_type: String,
    /// What it is.
    pub problem: Problem,
    /// The same in words.
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

/// What can be wrong with a dead letter that is to be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Problem {
    /// No event in this binary has its event type.
    UnknownEventType,
    /// A later release wrote it.
    NewerVersion,
    /// The declaration gave its version up.
    Retired,
    /// The payload does not fit its fields.
    Malformed,
    /// It did not park its aggregate: later events may be out already, and it comes late.
    LaterOnesOut,
    /// It holds a row that could not be read, and is left out of a replay.
    NotReplayable,
    /// Its headers cannot be read, or one of them cannot be sent, so that it is refused again:
    /// [amend](DeadLetters::amend) it first.
    UnsendableHeaders,
    /// It was not delivered before its deadline, and is given up again unless the route now has a
    /// later one.
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
    /// The place of a letter.
    pub fn of(letter: &DeadLetter) -> Self {
        Self {
            shard: letter.shard,
            position: letter.position,
            route: Arc::clone(&letter.route),
        }
    }
}

/// Goes through the letters by shard and position. What becomes due dies, if at all, at a place
/// that is behind the cursor, so the walk ends; and an earlier letter of a stream is never in a
/// later transaction.
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
            ReplayMode::DryRun => page.iter().for_each(|letter| look_at(letter, &mut report)),
            ReplayMode::Replay => {
                for (shard, letters) in by_shard(&page) {
                    report.replayed += store.replay_together(shard, &letters).await?;
                }
            }
        }
    }
}

/// The letters of each shard, in their order.
pub(super) fn by_shard(page: &[DeadLetter]) -> Vec<(ShardId, Vec<LetterKey>)> {
    let key = |letter: &DeadLetter| (letter.envelope.event_id, Arc::clone(&letter.route));
    let shards = page.chunk_by(|one, next| one.shard == next.shard);
    shards
        .map(|letters| (letters[0].shard, letters.iter().map(key).collect()))
        .collect()
}

fn look_at(letter: &DeadLetter, report: &mut ReplayReport) {
    if letter.raw.is_some() {
        let detail = "its row could not be read, so it is not replayed: write its event anew, and \
                      discard the letter";
        return report.note(letter, Problem::NotReplayable, detail.to_owned());
    }
    if let Some((problem, detail)) = unreadable(letter) {
        report.note(letter, problem, detail);
    }
    if let Some(obstacle) = amendment::obstacle(&letter.envelope) {
        report.note(
            letter,
            Problem::UnsendableHeaders,
            format!("{obstacle} (amend the letter before its replay)"),
        );
    }
    if letter.later_ones_out() {
        let detail = "it did not park its aggregate, so later events may be out already";
        report.note(letter, Problem::LaterOnesOut, detail.to_owned());
    }
    if letter.cause == Burial::EXPIRED {
        let detail =
            "it has expired and is given up again, unless its route now has a later deadline";
        report.note(letter, Problem::Expired, detail.to_owned());
    }
}

/// Why this binary cannot read the event. Bytes enqueued without a Rust type, and encoded ones, are
/// nobody's to read here.
fn unreadable(letter: &DeadLetter) -> Option<(Problem, String)> {
    let event = &letter.envelope;
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
