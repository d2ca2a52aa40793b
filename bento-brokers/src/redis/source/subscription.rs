//! An open subscription.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bento_relay::source::{Cursor, Most, Received, Resume, SourceError, Subscription};
use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use super::commands::{Commands, StreamInfo};
use super::entry::{Entry, Id};
use super::failure;
use super::settings::{RedisSourceSettings, RedisStart};
use crate::message::Reading;

/// The ids that are asked for, and acknowledged, at once.
const CHUNK: usize = 1_000;
/// The size of an entry before one was seen, in bytes.
const GUESS: usize = 64 << 10;

/// An open subscription to a stream. See the [module](super).
pub struct RedisSubscription {
    commands: Commands,
    source: Arc<str>,
    reading: Reading,
    /// Below the time in which the client expects an answer.
    longest_wait: Duration,
    /// The last entry that was read.
    place: Id,
    /// The entries up to there that were ever added, if that is known.
    read: Option<u64>,
    /// Read and not yet returned.
    waiting: VecDeque<Entry>,
    largest: usize,
    /// The last entry that was returned, with the count of all before it, unless the group is there
    /// already.
    returned: Option<(Id, Option<u64>)>,
    pending: Pending,
}

/// Entries that consumers of a group have left pending.
#[derive(Debug, Default)]
struct Pending {
    is_left: bool,
    behind: Option<Id>,
    ids: VecDeque<Id>,
    /// The next one, which was too large for the last answer.
    held: Option<Entry>,
    /// Returned and not yet acknowledged.
    returned: Vec<Id>,
    deleted: usize,
}

impl RedisSubscription {
    pub(super) async fn open(
        connection: MultiplexedConnection,
        settings: &RedisSourceSettings,
        resume: Resume,
        reading: Reading,
    ) -> Result<Self, SourceError> {
        let group = settings.group.as_deref().unwrap_or(&resume.source);
        let mut commands = Commands {
            connection,
            stream: settings.stream.clone(),
            group: group.to_owned(),
        };
        let opened = Self::begin(&mut commands, settings, resume.cursor).await;
        let begun = opened.map_err(|error| failure(&settings.stream, error))?;
        let Some(Begun {
            place,
            read,
            pending,
        }) = begun
        else {
            return Err(SourceError::refused(format!(
                "Redis has no stream `{}`: let its sender make it, or set `create = true`",
                settings.stream
            )));
        };
        Ok(Self {
            commands,
            source: resume.source,
            reading,
            longest_wait: settings.timeout / 2,
            place,
            read,
            waiting: VecDeque::new(),
            largest: GUESS,
            returned: None,
            pending,
        })
    }

    /// Finds the place to begin; `None` if there is no stream.
    async fn begin(
        commands: &mut Commands,
        settings: &RedisSourceSettings,
        cursor: Option<Cursor>,
    ) -> Result<Option<Begun>, redis::RedisError> {
        let Some(stream) = commands
            .stream()
            .await?
            .or_else(|| settings.create.then(StreamInfo::default))
        else {
            return Ok(None);
        };
        let of_this = cursor.filter(|cursor| cursor.incarnation == commands.stream);
        let stored = of_this.and_then(|cursor| cursor.place.parse::<Id>().ok());
        // A place that the stream has not reached is of another one.
        let behind = stored.filter(|place| *place <= stream.last);
        let begin = match (behind, stored, settings.start) {
            (Some(place), _, _) => place.to_string(),
            (None, None, RedisStart::New) => "$".to_owned(),
            (None, _, _) => "0".to_owned(),
        };
        commands.make_group(&begin, settings.create).await?;
        let group = commands.group().await?.unwrap_or_default();
        let group_place = if group.last <= stream.last {
            group.last
        } else {
            Id::default()
        };
        let place = behind.unwrap_or(group_place);
        let known = group.read.filter(|_| place == group.last);
        let read = count(place, &stream, known);
        let lost = lost(place, &stream, read);
        if lost > 0 {
            tracing::warn!(
                stream = &*commands.stream,
                entries = lost,
                "entries of the stream were trimmed before they were read"
            );
        }
        let read = read.map(|read| read.saturating_add(lost));
        let mut pending = Pending::default();
        if behind.is_some() {
            loop {
                let ids = commands.pending(None, CHUNK).await?;
                if ids.is_empty() {
                    break;
                }
                commands.acknowledge(&ids).await?;
            }
            commands.move_group(place, read).await?;
        } else {
            pending.is_left = group.pending > 0;
        }
        Ok(Some(Begun {
            place,
            read,
            pending,
        }))
    }

    /// The next entry that was left pending.
    async fn next_pending(&mut self) -> Result<Option<Entry>, redis::RedisError> {
        while self.pending.is_left {
            let Some(id) = self.pending.ids.pop_front() else {
                let ids = self.commands.pending(self.pending.behind, CHUNK).await?;
                self.pending.is_left = !ids.is_empty();
                self.pending.behind = ids.last().copied().or(self.pending.behind);
                self.pending.ids.extend(ids);
                continue;
            };
            match self.commands.entry(id).await? {
                Some(entry) => return Ok(Some(entry)),
                None => {
                    self.pending.deleted += 1;
                    self.commands.acknowledge(&[id]).await?;
                }
            }
        }
        if self.pending.deleted > 0 {
            tracing::warn!(
                stream = &*self.commands.stream,
                group = &*self.commands.group,
                entries = std::mem::take(&mut self.pending.deleted),
                "entries that were pending in the group had been deleted"
            );
        }
        Ok(None)
    }

    /// Entries that were left pending, as many as fit. They move no cursor: it would be in front of
    /// entries that were acknowledged.
    async fn receive_pending(&mut self, most: Most) -> Result<Received, redis::RedisError> {
        let mut received = Received::default();
        let mut bytes = 0_usize;
        while received.messages.len() < most.messages.max(1) {
            let entry = match self.pending.held.take() {
                Some(entry) => Some(entry),
                None => self.next_pending().await?,
            };
            let Some(entry) = entry else {
                break;
            };
            bytes = bytes.saturating_add(entry.size());
            if bytes > most.bytes && !received.messages.is_empty() {
                self.pending.held = Some(entry);
                break;
            }
            self.pending.returned.push(entry.id);
            let message = entry.message(&self.reading, &self.source, &self.commands.stream);
            received.messages.push(message);
        }
        Ok(received)
    }

    /// Waits for entries. False if none came.
    async fn read_more(&mut self, most: Most) -> Result<bool, redis::RedisError> {
        let count = most.messages.min(most.bytes / self.largest.max(1)).max(1);
        let end = Instant::now() + most.wait;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let wait = u64::try_from(left.min(self.longest_wait).as_millis()).unwrap_or(u64::MAX);
            let entries = self.commands.read(self.place, count, wait).await?;
            if let Some(last) = entries.last() {
                self.place = last.id;
                self.largest = entries.iter().map(Entry::size).max().unwrap_or(GUESS);
                self.waiting.extend(entries);
                return Ok(true);
            }
            if left.is_zero() || Instant::now() >= end {
                return Ok(false);
            }
        }
    }

    /// True if the stream is not the one that was read: its ids are behind the place.
    async fn is_anew(&mut self) -> Result<bool, redis::RedisError> {
        let stream = self.commands.stream().await?;
        let last = stream.map_or_else(Id::default, |stream| stream.last);
        Ok(last < self.place)
    }

    fn failed(&self, error: redis::RedisError) -> SourceError {
        failure(&self.commands.stream, error)
    }
}

/// The place at which a subscription begins.
struct Begun {
    place: Id,
    read: Option<u64>,
    pending: Pending,
}

/// The entries up to a place that were ever added, where it can be known.
fn count(place: Id, stream: &StreamInfo, known: Option<u64>) -> Option<u64> {
    let added = stream.added?;
    if place >= stream.last {
        return Some(added);
    }
    if known.is_some() {
        return known;
    }
    let is_before_all = stream.first.is_none_or(|first| place < first);
    is_before_all.then(|| added.saturating_sub(stream.length))
}

/// The entries behind the place that are not there any more.
fn lost(place: Id, stream: &StreamInfo, read: Option<u64>) -> u64 {
    let is_passed = place > Id::default() && stream.first.is_some_and(|first| place < first);
    match (stream.added, read) {
        (Some(added), Some(read)) if is_passed => {
            added.saturating_sub(stream.length).saturating_sub(read)
        }
        _ => 0,
    }
}

impl Subscription for RedisSubscription {
    async fn receive(&mut self, most: Most) -> Result<Received, SourceError> {
        if self.pending.is_left || self.pending.held.is_some() {
            let received = self.receive_pending(most).await;
            let received = received.map_err(|error| self.failed(error))?;
            if !received.messages.is_empty() {
                return Ok(received);
            }
        }
        if self.waiting.is_empty() {
            let found = self.read_more(most).await;
            if !found.map_err(|error| self.failed(error))? {
                let is_anew = self.is_anew().await;
                return match is_anew.map_err(|error| self.failed(error))? {
                    false => Ok(Received::default()),
                    true => Err(SourceError::unavailable(format!(
                        "the stream `{}` was made anew",
                        self.commands.stream
                    ))),
                };
            }
        }
        let mut received = Received::default();
        let mut bytes = 0_usize;
        while let Some(entry) = self.waiting.front() {
            bytes = bytes.saturating_add(entry.size());
            let is_first = received.messages.is_empty();
            let fits = received.messages.len() < most.messages && bytes <= most.bytes;
            if !fits && !is_first {
                break;
            }
            let entry = self.waiting.pop_front().expect("it is the first one");
            self.read = self.read.map(|read| read.saturating_add(1));
            self.returned = Some((entry.id, self.read));
            received.cursor = Some(Cursor {
                incarnation: self.commands.stream.clone(),
                place: entry.id.to_string(),
            });
            let message = entry.message(&self.reading, &self.source, &self.commands.stream);
            received.messages.push(message);
        }
        Ok(received)
    }

    async fn acknowledge(&mut self) -> Result<(), SourceError> {
        let ids = std::mem::take(&mut self.pending.returned);
        for ids in ids.chunks(CHUNK) {
            let acknowledged = self.commands.acknowledge(ids).await;
            acknowledged.map_err(|error| self.failed(error))?;
        }
        if let Some((id, read)) = self.returned {
            let moved = self.commands.move_group(id, read).await;
            moved.map_err(|error| self.failed(error))?;
            self.returned = None;
        }
        Ok(())
    }

    async fn lag(&mut self) -> Result<Option<u64>, SourceError> {
        let stream = self.commands.stream().await;
        let stream = stream.map_err(|error| self.failed(error))?;
        let Some(stream) = stream else {
            return Ok(Some(0));
        };
        let waiting = u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
        // `read` counts what was returned. It is unknown where the group was moved by others, until
        // the end of the stream is reached.
        if self.place >= stream.last {
            self.read = stream.added.map(|added| added.saturating_sub(waiting));
            return Ok(Some(waiting));
        }
        let by_count = stream.added.zip(self.read);
        Ok(by_count.map(|(added, read)| added.saturating_sub(read).min(stream.length)))
    }

    async fn close(self) {}
}

impl fmt::Debug for RedisSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSubscription")
            .field("stream", &self.commands.stream)
            .field("group", &self.commands.group)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
