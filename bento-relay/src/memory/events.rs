//! A store of events in memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bento_core::event::EventKind;
use bento_core::event_sourced::{Replay, StreamFault, storage};
use bento_core::outbox::OutboxEntry;
use bento_core::saving::{Saving, SavingError};
use bento_core::unit_of_work::{Flush, FrameId, UnitOfWork};
use bento_core::{Envelope, EventId, EventSourced};
use uuid::Uuid;

use super::MemoryStore;
use crate::event_store::{
    Cursor, EventStore, EventStoreError, Moment, Page, Selection, StoredEvent,
};
use crate::inspect::{InspectEvents, StoredAggregates};

/// A store of events in memory: for tests of code that is generic over [`EventStore`]. Clones share
/// their events.
///
/// ```
/// use bento_core::{EventSourced, PendingEvents, Report, aggregate, domain_event};
/// use bento_relay::MemoryEvents;
/// use bento_relay::event_store::{EventStore, EventStoreError};
///
/// #[domain_event(schema = "account.credited", version = 1)]
/// #[derive(Debug)]
/// pub struct AccountCredited {
///     pub cents: i64,
/// }
///
/// #[aggregate(event_sourced, events(AccountCredited))]
/// #[derive(Default)]
/// pub struct Account {
///     id: String,
///     #[aggregate(version)]
///     version: i64,
///     balance: i64,
///     events: PendingEvents,
/// }
///
/// impl Account {
///     fn apply(&mut self, event: &AccountEvent) {
///         let AccountEvent::AccountCredited(credited) = event;
///         self.balance += credited.cents;
///     }
/// }
///
/// /// The service: it runs on a database, and here in memory.
/// async fn credit<S>(events: &S, id: &str, cents: i64) -> Result<i64, EventStoreError>
/// where
///     S: EventStore,
/// {
///     let found = events.load::<Account>(id).await?;
///     let mut account = found.unwrap_or_else(|| Account::with_id(id.to_owned()));
///     account.raise(AccountCredited { cents });
///     events.save(&mut account).await?;
///     Ok(account.balance)
/// }
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let events = MemoryEvents::default();
/// credit(&events, "A-1", 500).await?;
/// assert_eq!(credit(&events, "A-1", 70).await?, 570);
///
/// let account = events.load::<Account>("A-1").await?;
/// assert_eq!(account.map(|account| account.version), Some(2));
/// # Ok::<_, Report>(())
/// # })?;
/// # Ok::<_, Report>(())
/// ```
///
/// With an [outbox](Self::with_outbox) a relay publishes what is saved.
#[derive(Clone, Debug, Default)]
pub struct MemoryEvents {
    history: Arc<Mutex<History>>,
    outbox: Option<MemoryStore>,
}

impl MemoryEvents {
    /// An empty store that also writes what is saved, and the integration events that are made from
    /// it, to an outbox.
    pub fn with_outbox(outbox: MemoryStore) -> Self {
        Self {
            outbox: Some(outbox),
            ..Self::default()
        }
    }

    /// Stores events as they are, with their own sequences, and nothing in the outbox: as a
    /// database has them that an earlier release wrote, or a damaged one.
    ///
    /// Nothing is checked here. A load refuses what an aggregate cannot be made of.
    pub fn restore(&self, events: impl IntoIterator<Item = Envelope>) {
        let mut history = self.history();
        events.into_iter().for_each(|event| history.push(event));
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load_until<A: EventSourced>(
        &self,
        id: A::Id,
        until: Option<Moment>,
    ) -> Result<Option<A>, EventStoreError> {
        let Some(key) = A::key_of(&id).into_text() else {
            return Ok(None);
        };
        let stream = stream_of::<A>(key.clone());
        let events = self.history().events_until(&stream, until);
        replay(id, &events).map_err(|fault| EventStoreError::Stream {
            aggregate_type: A::TYPE,
            id: key,
            fault: Box::new(fault),
        })
    }

    /// Does what a transaction does, with its commit.
    fn save_in<A: EventSourced>(
        &self,
        unit_of_work: &UnitOfWork,
        frame: FrameId,
        aggregate: &mut A,
    ) -> Result<(), EventStoreError> {
        let saving = unit_of_work.save(frame, aggregate)?;
        let (mut history, mut flush) = match self.begin_append(aggregate, &saving) {
            Ok(begun) => begun,
            Err(error) => {
                saving.failed();
                return Err(error);
            }
        };
        let entries = mem::take(&mut flush.entries);
        saving.done(aggregate)?;
        flush.done();
        unit_of_work.seal(frame).map_err(SavingError::from)?;
        for entry in entries.iter().filter(|entry| is_stored(entry)) {
            history.push(entry.envelope.clone());
        }
        // Still locked: the outbox has the events in the order of the history.
        if let Some(outbox) = &self.outbox {
            outbox.append(entries);
        }
        unit_of_work.committed();
        Ok(())
    }

    /// Serialises the events of a save, and locks the history if they may follow now.
    fn begin_append<A: EventSourced>(
        &self,
        aggregate: &A,
        saving: &Saving,
    ) -> Result<(MutexGuard<'_, History>, Flush), EventStoreError> {
        let key = if saving.events() > 0 {
            let key = aggregate.aggregate_key().into_text();
            let aggregate_type = A::TYPE;
            Some(key.ok_or(EventStoreError::NoKey { aggregate_type })?)
        } else {
            None
        };
        let sharding = self.outbox.as_ref().map(MemoryStore::current_sharding);
        let flush = saving.flush(&sharding.unwrap_or_default())?;
        let history = self.history();
        if let Some(key) = key {
            history.check_head::<A>(&key, saving.version_before().unwrap_or(0))?;
            history.check_ids::<A>(&key, &flush.entries)?;
        }
        Ok((history, flush))
    }
}

impl EventStore for MemoryEvents {
    async fn load<A: EventSourced>(
        &self,
        id: impl Into<A::Id> + Send,
    ) -> Result<Option<A>, EventStoreError> {
        self.load_until(id.into(), None)
    }

    async fn load_at<A: EventSourced>(
        &self,
        id: impl Into<A::Id> + Send,
        moment: Moment,
    ) -> Result<Option<A>, EventStoreError> {
        self.load_until(id.into(), Some(moment))
    }

    async fn save<A: EventSourced<Storage = storage::Events>>(
        &self,
        aggregate: &mut A,
    ) -> Result<(), EventStoreError> {
        let (unit_of_work, frame) = UnitOfWork::open();
        let saved = self.save_in(&unit_of_work, frame, aggregate);
        if saved.is_err() {
            unit_of_work.discard(frame);
        }
        saved
    }

    async fn page(
        &self,
        of: &Selection,
        after: &Cursor,
        limit: usize,
    ) -> Result<Page, EventStoreError> {
        let history = self.history();
        let start = history.place(after)?;
        let positions = history.positions(of);
        let behind = positions.partition_point(|position| *position <= start);
        let behind = &positions[behind..];
        let read = &behind[..limit.max(1).min(behind.len())];
        let is_last = read.len() == behind.len();
        let next = if is_last {
            history.cursor(history.events.len())
        } else {
            history.cursor(read.last().copied().unwrap_or(start))
        };
        let events = read.iter().map(|position| StoredEvent {
            envelope: Envelope::clone(history.event(*position)),
            cursor: history.cursor(*position),
        });
        Ok(Page::new(events.collect(), next, is_last))
    }
}

impl InspectEvents for MemoryEvents {
    async fn stored_aggregates(&self) -> Result<Vec<StoredAggregates>, EventStoreError> {
        let history = self.history();
        let mut types: BTreeMap<&str, StoredAggregates> = BTreeMap::new();
        for selection in history.index.keys() {
            let Selection::Aggregate { aggregate_type, .. } = selection else {
                continue;
            };
            let counts = types.entry(aggregate_type).or_default();
            counts.aggregate_type.clone_from(aggregate_type);
            counts.aggregates += 1;
            counts.events += history.head(selection).cast_unsigned();
        }
        Ok(types.into_values().collect())
    }

    async fn last_position(&self) -> Result<Option<i64>, EventStoreError> {
        let last = self.history().events.len() as i64;
        Ok((last > 0).then_some(last))
    }
}

/// The stored events, and where those of each selection are.
#[derive(Debug)]
struct History {
    /// The identity of the store, in the basis of its cursors.
    basis: Arc<str>,
    /// The event with position 1 first.
    events: Vec<Arc<Envelope>>,
    /// The positions of the events of each selection, rising.
    index: HashMap<Selection, Vec<usize>>,
    ids: HashSet<EventId>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            basis: format!("memory:{}", Uuid::now_v7()).into(),
            events: Vec::new(),
            index: HashMap::new(),
            ids: HashSet::new(),
        }
    }
}

impl History {
    fn push(&mut self, event: Envelope) {
        let position = self.events.len() + 1;
        let of_aggregate = Selection::Aggregate {
            aggregate_type: event.aggregate_type.to_string(),
            aggregate_id: event.aggregate_id.clone(),
        };
        let of_type = Selection::EventType(event.event_type.to_string());
        for selection in [of_aggregate, of_type, Selection::All] {
            self.index.entry(selection).or_default().push(position);
        }
        self.ids.insert(event.event_id);
        self.events.push(Arc::new(event));
    }

    fn event(&self, position: usize) -> &Arc<Envelope> {
        &self.events[position - 1]
    }

    fn positions(&self, of: &Selection) -> &[usize] {
        self.index.get(of).map(Vec::as_slice).unwrap_or_default()
    }

    fn events_of(&self, of: &Selection) -> impl DoubleEndedIterator<Item = &Arc<Envelope>> {
        let positions = self.positions(of).iter();
        positions.map(|position| self.event(*position))
    }

    /// The number of the last event of an aggregate; 0 without one.
    fn head(&self, stream: &Selection) -> i64 {
        let last = self.events_of(stream).next_back();
        last.and_then(|event| event.sequence).unwrap_or(0)
    }

    /// The events of an aggregate up to a moment.
    fn events_until(&self, stream: &Selection, until: Option<Moment>) -> Vec<Arc<Envelope>> {
        let last = match until {
            None => None,
            Some(Moment::Sequence(last)) => Some(last),
            Some(Moment::Time(at)) => {
                let occurred = self
                    .events_of(stream)
                    .filter(|event| event.occurred_at <= at);
                Some(
                    occurred
                        .filter_map(|event| event.sequence)
                        .max()
                        .unwrap_or(0),
                )
            }
        };
        let is_wanted =
            |event: &&Arc<Envelope>| last.is_none_or(|last| event.sequence <= Some(last));
        self.events_of(stream).filter(is_wanted).cloned().collect()
    }

    fn check_head<A: EventSourced>(&self, key: &str, expected: i64) -> Result<(), EventStoreError> {
        let actual = self.head(&stream_of::<A>(key.to_owned()));
        if actual == expected {
            return Ok(());
        }
        Err(EventStoreError::Conflict {
            aggregate_type: A::TYPE,
            id: key.to_owned(),
            expected,
            actual: Some(actual),
            source: None,
        })
    }

    fn check_ids<A: EventSourced>(
        &self,
        key: &str,
        entries: &[OutboxEntry],
    ) -> Result<(), EventStoreError> {
        let stored = entries.iter().filter(|entry| is_stored(entry));
        let event_ids: Vec<EventId> = stored.map(|entry| entry.envelope.event_id).collect();
        let mut new = HashSet::new();
        if event_ids
            .iter()
            .all(|id| !self.ids.contains(id) && new.insert(id))
        {
            return Ok(());
        }
        Err(EventStoreError::AlreadyStored {
            aggregate_type: A::TYPE,
            id: key.to_owned(),
            event_ids,
            source: None,
        })
    }

    fn cursor(&self, position: usize) -> Cursor {
        Cursor::new(position as i64, Some(Arc::clone(&self.basis)))
    }

    /// The position of a place, 0 before every event.
    fn place(&self, cursor: &Cursor) -> Result<usize, EventStoreError> {
        if *cursor == Cursor::START {
            return Ok(0);
        }
        let is_own = cursor.basis() == Some(&self.basis);
        usize::try_from(cursor.position())
            .ok()
            .filter(|position| is_own && *position <= self.events.len())
            .ok_or_else(|| EventStoreError::Cursor {
                cursor: cursor.clone(),
                reason: "it is a place of another store; keep the cursors of this store, or begin \
                         with `Cursor::START`"
                    .to_owned(),
            })
    }
}

fn stream_of<A: EventSourced>(key: String) -> Selection {
    Selection::Aggregate {
        aggregate_type: A::TYPE.to_owned(),
        aggregate_id: key,
    }
}

/// True for an event of the aggregate itself, and not for an integration event that is made from
/// it.
fn is_stored(entry: &OutboxEntry) -> bool {
    entry.envelope.kind == EventKind::Domain
}

fn replay<A: EventSourced>(id: A::Id, events: &[Arc<Envelope>]) -> Result<Option<A>, StreamFault> {
    let mut replay = Replay::new(id);
    for event in events {
        let sequence = event.sequence.unwrap_or_default();
        replay.apply(
            sequence,
            &event.event_type,
            event.schema_version,
            &event.payload,
        )?;
    }
    replay.finish()
}
