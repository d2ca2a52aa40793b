//! A store with a fault fails the rule that is there for it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bento_core::event_sourced::storage;
use bento_core::{DomainEvent as _, Envelope, EventId, EventSourced, Registry};
use bento_relay::MemoryEvents;
use bento_relay::event_store::{
    Cursor, EventStore, EventStoreError, Moment, Page, Selection, StoredEvent,
};
use bento_relay::inspect::{InspectEvents, StoredAggregates};
use bento_testkit::event_store::{
    EventStoreBench, Never, concurrency, cursors, faults, inspect, moments, pages, saving,
};
use chrono::{SubsecRound as _, TimeDelta};
use futures_util::{FutureExt as _, Stream, StreamExt as _};

use crate::Announced;

/// A fault of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    // Of saves:
    AnyVersion,
    ConflictUntold,
    ConflictWithoutActual,
    ConflictWithWrongActual,
    EventsLostByConflict,
    VersionNotRaised,
    RepeatedIdUntold,
    EmptyIdUntold,
    OtherIdUntold,
    SaveWithoutEventsConflicts,
    IntegrationEventStored,
    // Of loads:
    BrokenStateLoaded,
    MomentIgnored,
    MomentExclusive,
    MomentShifted,
    MomentOfMilliseconds,
    EmptyAggregate,
    // Of pages:
    Reversed,
    TenantDropped,
    HeadersDropped,
    TimeRounded,
    IdMadeAnew,
    SequenceDropped,
    PayloadReplaced,
    EndsEarly,
    NextIsStart,
    NextBeforeLast,
    NextBehindOne,
    EventCursorBefore,
    FirstSkipped,
    LimitIgnored,
    TypeIgnored,
    AggregateTypeIgnored,
    CaseIgnored,
    UnknownLeftOut,
    GarbageCursorAccepted,
    CursorWithoutBasis,
    // Of streams:
    StreamOfOnePage,
    StreamFromStart,
    // Of counts:
    OneTypeCounted,
    EventsAsAggregates,
    EmptyTypeCounted,
    PositionStands,
    PositionOfEmptyStore,
}

/// Each fault with a rule that finds it.
macro_rules! found_by {
    ($($fault:ident: $subject:ident::$rule:ident,)*) => {
        mod found {
            use super::*;

            $(
                #[tokio::test]
                #[allow(non_snake_case, reason = "the name of the fault")]
                async fn $fault() {
                    let bench = Broken::with(Fault::$fault);
                    let rule = AssertUnwindSafe($subject::$rule(&bench)).catch_unwind();
                    assert!(rule.await.is_err(), "`{}` passes", stringify!($rule));
                }
            )*
        }

        /// Each of the rules passes without the fault.
        #[tokio::test]
        async fn the_same_store_without_a_fault_passes() {
            $($subject::$rule(&Broken::sound()).await;)*
        }
    };
}

found_by! {
    AnyVersion: saving::the_second_of_two_saves_is_a_conflict_with_both_numbers,
    ConflictUntold: concurrency::writers_at_once_lose_nothing,
    ConflictWithoutActual: saving::of_two_new_aggregates_of_one_id_the_second_is_a_conflict,
    ConflictWithWrongActual: saving::the_second_of_two_saves_is_a_conflict_with_both_numbers,
    EventsLostByConflict: saving::after_a_conflict_the_events_are_back_and_a_repetition_succeeds,
    VersionNotRaised: saving::an_aggregate_is_loaded_as_it_was_saved,
    RepeatedIdUntold: saving::an_event_id_that_is_stored_is_refused,
    EmptyIdUntold: saving::an_empty_id_is_refused,
    OtherIdUntold: saving::an_id_that_was_changed_is_refused,
    SaveWithoutEventsConflicts: saving::a_save_without_events_stores_nothing,
    IntegrationEventStored: saving::integration_events_are_not_stored,
    BrokenStateLoaded: faults::a_hole_is_told,
    MomentIgnored: moments::an_aggregate_is_loaded_as_it_was_after_an_event,
    MomentExclusive: moments::an_aggregate_is_loaded_as_it_was_after_an_event,
    MomentShifted: moments::an_aggregate_is_loaded_as_it_was_at_a_time,
    MomentOfMilliseconds: moments::a_moment_is_exact_to_the_microsecond,
    EmptyAggregate: saving::an_id_without_events_has_no_aggregate,
    Reversed: pages::pages_of_every_size_give_each_event_once,
    TenantDropped: saving::what_an_event_carries_is_stored,
    HeadersDropped: saving::what_an_event_carries_is_stored,
    TimeRounded: saving::what_an_event_carries_is_stored,
    IdMadeAnew: pages::pages_of_every_size_give_each_event_once,
    SequenceDropped: saving::what_an_event_carries_is_stored,
    PayloadReplaced: saving::what_an_event_carries_is_stored,
    EndsEarly: pages::pages_of_every_size_give_each_event_once,
    NextIsStart: pages::reading_goes_on_when_more_was_stored,
    NextBeforeLast: pages::pages_of_every_size_give_each_event_once,
    NextBehindOne: pages::pages_of_every_size_give_each_event_once,
    EventCursorBefore: cursors::reading_goes_on_behind_any_event,
    FirstSkipped: pages::pages_of_every_size_give_each_event_once,
    LimitIgnored: pages::pages_of_every_size_give_each_event_once,
    TypeIgnored: pages::a_selection_holds_its_own_events_alone,
    AggregateTypeIgnored: pages::aggregates_of_two_types_with_one_id_are_apart,
    CaseIgnored: saving::ids_of_any_text_are_aggregates_of_their_own,
    UnknownLeftOut: faults::events_that_cannot_be_decoded_are_read_as_they_are,
    GarbageCursorAccepted: cursors::a_cursor_of_garbage_is_refused,
    CursorWithoutBasis: cursors::a_cursor_is_kept_as_text,
    StreamOfOnePage: pages::a_stream_ends_at_the_present,
    StreamFromStart: pages::a_stream_ends_at_the_present,
    OneTypeCounted: inspect::aggregates_and_events_are_counted_by_type,
    EventsAsAggregates: inspect::aggregates_and_events_are_counted_by_type,
    EmptyTypeCounted: inspect::an_empty_store_has_no_counts,
    PositionStands: inspect::the_last_position_rises,
    PositionOfEmptyStore: inspect::an_empty_store_has_no_counts,
}

/// The store in memory behind a fault.
#[derive(Clone, Debug)]
struct Broken {
    events: MemoryEvents,
    fault: Option<Fault>,
}

impl Broken {
    fn with(fault: Fault) -> Self {
        Self {
            fault: Some(fault),
            ..Self::sound()
        }
    }

    fn sound() -> Self {
        Self {
            events: MemoryEvents::default(),
            fault: None,
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn selected(&self, of: &Selection) -> Selection {
        match of {
            Selection::EventType(_) if self.has(Fault::TypeIgnored) => Selection::All,
            Selection::Aggregate {
                aggregate_type,
                aggregate_id,
            } if self.has(Fault::CaseIgnored) => Selection::Aggregate {
                aggregate_type: aggregate_type.clone(),
                aggregate_id: aggregate_id.to_lowercase(),
            },
            other => other.clone(),
        }
    }

    /// Gives an event that is read the fault.
    fn spoil(&self, event: &mut Envelope) {
        match self.fault {
            Some(Fault::TenantDropped) => event.tenant_id = None,
            Some(Fault::HeadersDropped) => event.headers = Default::default(),
            Some(Fault::TimeRounded) => event.occurred_at = event.occurred_at.trunc_subsecs(3),
            Some(Fault::IdMadeAnew) => event.event_id = EventId::new(),
            Some(Fault::SequenceDropped) => event.sequence = None,
            Some(Fault::PayloadReplaced) => event.payload = b"{}".as_slice().into(),
            _ => {}
        }
    }

    /// The numbers of the events of an aggregate.
    async fn stored(&self, of: Selection) -> Result<Vec<i64>, EventStoreError> {
        let page = self.events.page(&of, &Cursor::START, 10_000).await?;
        let numbers = page
            .events
            .iter()
            .filter_map(|event| event.envelope.sequence);
        Ok(numbers.collect())
    }

    /// All events with an id, whatever the type of their aggregate.
    async fn with_id(&self, id: &str) -> Result<Page, EventStoreError> {
        let mut page = self
            .events
            .page(&Selection::All, &Cursor::START, 10_000)
            .await?;
        page.events
            .retain(|event| event.envelope.aggregate_id == id);
        Ok(page)
    }

    /// Gives a page that is read the fault.
    fn spoil_page(&self, page: &mut Page, after: &Cursor) {
        let behind_first = page.events.first().map(|event| event.cursor.clone());
        match self.fault {
            Some(Fault::Reversed) => page.events.reverse(),
            Some(Fault::EndsEarly) => page.is_last = true,
            Some(Fault::NextIsStart) if page.is_last => page.next = Cursor::START,
            Some(Fault::NextBeforeLast) if page.events.len() > 1 && !page.is_last => {
                page.next = page.events[page.events.len() - 2].cursor.clone();
            }
            Some(Fault::NextBehindOne) if !page.is_last => {
                page.next = Cursor::new(page.next.position() + 1, page.next.basis().cloned());
            }
            Some(Fault::EventCursorBefore) => {
                let cursors = page.events.iter().map(|event| event.cursor.clone());
                let before: Vec<_> = [after.clone()].into_iter().chain(cursors).collect();
                for (event, cursor) in page.events.iter_mut().zip(before) {
                    event.cursor = cursor;
                }
            }
            Some(Fault::FirstSkipped) if *after != Cursor::START && !page.events.is_empty() => {
                page.events.remove(0);
            }
            Some(Fault::UnknownLeftOut) => page.events.retain(|event| {
                let event = &event.envelope;
                Registry::global().event(&event.event_type).is_some()
            }),
            Some(Fault::CursorWithoutBasis) => {
                let basis: Option<Arc<str>> = behind_first.map(|_| "other".into());
                page.next = Cursor::new(page.next.position(), basis);
            }
            _ => {}
        }
        for event in &mut page.events {
            self.spoil(&mut event.envelope);
        }
    }
}

impl EventStore for Broken {
    async fn load<A: EventSourced>(
        &self,
        id: impl Into<A::Id> + Send,
    ) -> Result<Option<A>, EventStoreError> {
        let id = id.into();
        let of = Selection::Aggregate {
            aggregate_type: A::TYPE.to_owned(),
            aggregate_id: A::key_of(&id).into_text().unwrap_or_default(),
        };
        let stored = self.stored(of).await?;
        match self.fault {
            Some(Fault::EmptyAggregate) if stored.is_empty() => Ok(Some(A::with_id(id))),
            Some(Fault::BrokenStateLoaded) => {
                let dense = stored
                    .iter()
                    .zip(1..)
                    .take_while(|(found, nth)| *found == nth);
                let before = Moment::Sequence(dense.count() as i64);
                self.events.load_at(id, before).await
            }
            _ => self.events.load(id).await,
        }
    }

    async fn load_at<A: EventSourced>(
        &self,
        id: impl Into<A::Id> + Send,
        moment: Moment,
    ) -> Result<Option<A>, EventStoreError> {
        let moment = match (self.fault, moment) {
            (Some(Fault::MomentIgnored), _) => return self.events.load(id).await,
            (Some(Fault::MomentExclusive), Moment::Sequence(last)) => {
                Moment::Sequence(last.saturating_sub(1))
            }
            (Some(Fault::MomentShifted), Moment::Time(at)) => {
                Moment::Time(at - TimeDelta::microseconds(1))
            }
            (Some(Fault::MomentOfMilliseconds), Moment::Time(at)) => {
                Moment::Time(at.trunc_subsecs(3) + TimeDelta::microseconds(999))
            }
            _ => moment,
        };
        self.events.load_at(id, moment).await
    }

    async fn save<A: EventSourced<Storage = storage::Events>>(
        &self,
        aggregate: &mut A,
    ) -> Result<(), EventStoreError> {
        let before = aggregate.version().unwrap_or(0);
        if self.has(Fault::SaveWithoutEventsConflicts) && aggregate.pending_events().is_empty() {
            return Err(EventStoreError::Conflict {
                aggregate_type: A::TYPE,
                id: String::new(),
                expected: before,
                actual: None,
                source: None,
            });
        }
        let saved = self.events.save(aggregate).await;
        match (self.fault, saved) {
            (Some(Fault::VersionNotRaised), Ok(())) => {
                aggregate.set_version(before);
                Ok(())
            }
            (Some(Fault::IntegrationEventStored), Ok(())) => {
                let mut event = Envelope::new(Announced::SCHEMA, 1, chrono::Utc::now(), "{}");
                event.aggregate_type = A::TYPE.into();
                self.events.restore([event]);
                Ok(())
            }
            (Some(fault), Err(EventStoreError::Conflict { actual, .. }))
                if matches!(fault, Fault::AnyVersion | Fault::ConflictUntold) =>
            {
                if fault == Fault::AnyVersion {
                    aggregate.set_version(actual.expect("it is known"));
                    return self.events.save(aggregate).await;
                }
                aggregate.discard();
                Ok(())
            }
            (
                Some(fault),
                Err(EventStoreError::Conflict {
                    aggregate_type,
                    id,
                    expected,
                    actual,
                    source,
                }),
            ) => {
                if fault == Fault::EventsLostByConflict {
                    aggregate.discard();
                }
                let actual = match fault {
                    Fault::ConflictWithoutActual => None,
                    Fault::ConflictWithWrongActual => Some(expected + 1),
                    _ => actual,
                };
                Err(EventStoreError::Conflict {
                    aggregate_type,
                    id,
                    expected,
                    actual,
                    source,
                })
            }
            (Some(Fault::RepeatedIdUntold), Err(EventStoreError::AlreadyStored { .. }))
            | (Some(Fault::EmptyIdUntold), Err(EventStoreError::NoKey { .. }))
            | (Some(Fault::OtherIdUntold), Err(EventStoreError::Flush(_))) => {
                aggregate.discard();
                Ok(())
            }
            (_, saved) => saved,
        }
    }

    async fn page(
        &self,
        of: &Selection,
        after: &Cursor,
        limit: usize,
    ) -> Result<Page, EventStoreError> {
        if let Selection::Aggregate { aggregate_id, .. } = of
            && self.has(Fault::AggregateTypeIgnored)
        {
            return self.with_id(aggregate_id).await;
        }
        let limit = match self.has(Fault::LimitIgnored) {
            true => limit + 1,
            false => limit,
        };
        let mut page = match self.events.page(&self.selected(of), after, limit).await {
            Err(EventStoreError::Cursor { .. }) if self.has(Fault::GarbageCursorAccepted) => {
                self.events.page(of, &Cursor::START, limit).await?
            }
            page => page?,
        };
        self.spoil_page(&mut page, after);
        Ok(page)
    }

    fn stream(
        &self,
        of: Selection,
        after: Cursor,
    ) -> impl Stream<Item = Result<StoredEvent, EventStoreError>> + Send {
        let after = match self.has(Fault::StreamFromStart) {
            true => Cursor::START,
            false => after,
        };
        let most = match self.has(Fault::StreamOfOnePage) {
            true => 512,
            false => usize::MAX,
        };
        self.events.stream(of, after).take(most)
    }
}

impl InspectEvents for Broken {
    async fn stored_aggregates(&self) -> Result<Vec<StoredAggregates>, EventStoreError> {
        let mut counted = self.events.stored_aggregates().await?;
        match self.fault {
            Some(Fault::OneTypeCounted) => counted.truncate(1),
            Some(Fault::EventsAsAggregates) => {
                let counts = counted.iter_mut();
                counts.for_each(|counts| counts.aggregates = counts.events);
            }
            Some(Fault::EmptyTypeCounted) => counted.push(StoredAggregates::default()),
            _ => {}
        }
        Ok(counted)
    }

    async fn last_position(&self) -> Result<Option<i64>, EventStoreError> {
        let last = self.events.last_position().await?;
        Ok(match self.fault {
            Some(Fault::PositionStands) => last.map(|_| 1),
            Some(Fault::PositionOfEmptyStore) => Some(last.unwrap_or(0)),
            _ => last,
        })
    }
}

impl EventStoreBench for Broken {
    type Store = Self;
    type Staged = Never;

    fn store(&self) -> Self {
        self.clone()
    }

    async fn restore(&self, events: Vec<Envelope>) -> bool {
        self.events.restore(events);
        true
    }
}
