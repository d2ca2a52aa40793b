//! The rules of the module, one by one.

use std::future::ready;

use serde::{Deserialize, Serialize, Serializer};

use super::*;
use crate::aggregate::Aggregate;
use crate::{aggregate, domain_event};

mod lanes;
mod saving;
mod serialising;

#[domain_event(schema = "unit.counted", version = 1)]
#[derive(Debug)]
struct Counted {
    number: u32,
}

#[domain_event(
    schema = "unit.announced",
    version = 1,
    topic = "announcements",
    routing_key = "all"
)]
#[derive(Debug)]
struct Announced {}

#[domain_event(schema = "unit.refused", version = 1)]
#[derive(Debug)]
struct Refused {
    content: Unserialisable,
}

#[derive(Debug, Deserialize)]
struct Unserialisable;

impl Serialize for Unserialisable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("never"))
    }
}

#[aggregate(events(Counted, Announced, Refused))]
struct Counter {
    id: u32,
    events: PendingEvents,
}

impl Counter {
    fn new(id: u32) -> Self {
        Self {
            id,
            events: PendingEvents::default(),
        }
    }

    fn count(&mut self, number: u32) {
        self.raise(Counted { number });
    }

    fn pending_numbers(&self) -> Vec<String> {
        self.events
            .snapshot()
            .iter()
            .map(|event| format!("{:?}", event.event().unwrap()))
            .collect()
    }
}

fn raise_number(number: u32) {
    raise(Counted { number }).unwrap();
}

/// Flushes and returns the payloads.
fn flush(unit_of_work: &UnitOfWork, frame: FrameId) -> Vec<String> {
    let mut flush = unit_of_work.flush(frame, &Sharding::default()).unwrap();
    let entries = std::mem::take(&mut flush.entries);
    flush.done();
    entries
        .into_iter()
        .map(|entry| String::from_utf8(entry.envelope.payload.into()).unwrap())
        .collect()
}

fn numbers(range: impl IntoIterator<Item = u32>) -> Vec<String> {
    range
        .into_iter()
        .map(|number| format!(r#"{{"number":{number}}}"#))
        .collect()
}

fn commit(unit_of_work: &UnitOfWork, frame: FrameId) {
    assert!(unit_of_work.seal(frame).unwrap(), "everything is flushed");
    unit_of_work.committed();
}

fn push(unit_of_work: &UnitOfWork, parent: FrameId) -> FrameId {
    unit_of_work.push_frame(parent, Opener::Caller).unwrap()
}

#[test]
fn an_event_belongs_to_the_top_frame() {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.scope_sync(|| raise_number(1));
    let child = push(&unit_of_work, root);
    unit_of_work.scope_sync(|| raise_number(2));
    unit_of_work.discard(child);
    assert_eq!(flush(&unit_of_work, root), numbers([1]));
}

#[test]
fn merging_moves_events_down() {
    let (unit_of_work, root) = UnitOfWork::open();
    let child = push(&unit_of_work, root);
    unit_of_work.scope_sync(|| raise_number(1));
    unit_of_work.merge(child).unwrap();
    unit_of_work.scope_sync(|| raise_number(2));
    assert_eq!(flush(&unit_of_work, root), numbers([1, 2]));
}

#[test]
fn discarding_a_frame_discards_those_above_it() {
    let (unit_of_work, root) = UnitOfWork::open();
    let child = push(&unit_of_work, root);
    let grandchild = push(&unit_of_work, child);
    unit_of_work.scope_sync(|| raise_number(1));
    assert!(unit_of_work.discard(child));
    assert!(!unit_of_work.contains(grandchild));
    assert!(!unit_of_work.discard(grandchild), "it has ended already");
    assert!(flush(&unit_of_work, root).is_empty());
}

#[test]
fn a_commit_empties_a_collected_list() {
    let mut counter = Counter::new(1);
    counter.count(1);
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work
        .collect(root, counter.pending_events_mut())
        .unwrap();
    counter.count(2);
    assert_eq!(flush(&unit_of_work, root), numbers([1, 2]));
    commit(&unit_of_work, root);
    assert!(counter.events.is_empty());
}

#[test]
fn discarding_gives_collected_events_back_in_their_order() {
    let mut counter = Counter::new(1);
    counter.count(1);
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work
        .collect(root, counter.pending_events_mut())
        .unwrap();
    assert_eq!(flush(&unit_of_work, root), numbers([1]));
    counter.count(2);
    unit_of_work.discard(root);
    assert_eq!(
        counter.pending_numbers(),
        ["Counted { number: 1 }", "Counted { number: 2 }"]
    );
}

#[test]
fn what_was_pending_before_a_scope_goes_back_and_what_was_raised_in_it_does_not() {
    let mut counter = Counter::new(1);
    counter.count(1);
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.scope_sync(|| counter.count(2));
    assert!(
        counter.events.is_empty(),
        "raising in a scope collects what was pending"
    );
    unit_of_work.discard(root);
    assert_eq!(counter.pending_numbers(), ["Counted { number: 1 }"]);
}

#[test]
fn a_list_collected_twice_is_written_once() {
    let mut counter = Counter::new(1);
    counter.count(1);
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work
        .collect(root, counter.pending_events_mut())
        .unwrap();
    let child = push(&unit_of_work, root);
    unit_of_work
        .collect(child, counter.pending_events_mut())
        .unwrap();
    unit_of_work
        .collect(child, counter.pending_events_mut())
        .unwrap();
    unit_of_work.merge(child).unwrap();
    assert_eq!(flush(&unit_of_work, root), numbers([1]));
}

#[test]
fn a_list_collected_in_two_open_frames_is_written_once() {
    let mut counter = Counter::new(1);
    counter.count(1);
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work
        .collect(root, counter.pending_events_mut())
        .unwrap();
    let child = push(&unit_of_work, root);
    unit_of_work
        .collect(child, counter.pending_events_mut())
        .unwrap();
    assert_eq!(flush(&unit_of_work, child), numbers([1]));
}

#[test]
fn what_a_collected_aggregate_adds_in_a_savepoint_goes_with_the_savepoint() {
    let mut counter = Counter::new(1);
    counter.count(1);
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work
        .collect(root, counter.pending_events_mut())
        .unwrap();
    let child = push(&unit_of_work, root);
    counter.count(2);
    unit_of_work.discard(child);
    counter.count(3);
    assert_eq!(
        flush(&unit_of_work, root),
        numbers([1, 3]),
        "2 was undone with the savepoint"
    );
    commit(&unit_of_work, root);
    assert_eq!(
        counter.pending_numbers(),
        ["Counted { number: 2 }"],
        "and is back, for another try"
    );

    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work
        .collect(root, counter.pending_events_mut())
        .unwrap();
    assert_eq!(flush(&unit_of_work, root), numbers([2]));
}

#[test]
fn what_a_collected_aggregate_adds_in_a_savepoint_goes_with_it_even_if_it_was_flushed_there() {
    let mut counter = Counter::new(1);
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work
        .collect(root, counter.pending_events_mut())
        .unwrap();
    let child = push(&unit_of_work, root);
    counter.count(1);
    assert_eq!(flush(&unit_of_work, child), numbers([1]), "written once");
    unit_of_work.discard(child);
    assert_eq!(
        flush(&unit_of_work, root),
        numbers([]),
        "its row went with the savepoint"
    );
    assert_eq!(
        counter.pending_numbers(),
        ["Counted { number: 1 }"],
        "and it is back, for another try"
    );
}

#[test]
fn what_a_collected_aggregate_adds_in_a_released_savepoint_is_kept() {
    let mut counter = Counter::new(1);
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work
        .collect(root, counter.pending_events_mut())
        .unwrap();
    let child = push(&unit_of_work, root);
    counter.count(1);
    unit_of_work.merge(child).unwrap();
    counter.count(2);
    assert_eq!(flush(&unit_of_work, root), numbers([1, 2]));
}

#[test]
fn below_an_open_child_everything_is_refused() {
    let (unit_of_work, root) = UnitOfWork::open();
    let child = push(&unit_of_work, root);
    let refused = FrameError::ChildOpen;
    assert_eq!(
        unit_of_work.collect(root, &mut PendingEvents::default()),
        Err(refused.clone())
    );
    assert_eq!(
        unit_of_work.enqueue(root, "topic", "", Bytes::new()),
        Err(refused.clone())
    );
    assert_eq!(unit_of_work.keep_pending(root), Err(refused.clone()));
    assert_eq!(unit_of_work.discard_pending(root), Err(refused.clone()));
    assert_eq!(unit_of_work.check_flushable(root), Err(refused.clone()));
    assert_eq!(unit_of_work.merge(root), Err(refused.clone()));
    assert_eq!(unit_of_work.seal(root), Err(refused));
    unit_of_work.merge(child).unwrap();
    commit(&unit_of_work, root);
}

#[test]
fn an_ended_frame_refuses_everything() {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.discard(root);
    assert_eq!(
        unit_of_work.collect(root, &mut PendingEvents::default()),
        Err(FrameError::Ended)
    );
    assert_eq!(unit_of_work.check_flushable(root), Err(FrameError::Ended));
    assert_eq!(
        unit_of_work.push_frame(root, Opener::Caller),
        Err(FrameError::Ended)
    );
    assert!(!unit_of_work.is_open());
}

#[test]
fn a_failed_statement_makes_the_events_before_it_doubtful() {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.scope_sync(|| raise_number(1));
    unit_of_work.statement_failed();
    let doubtful = unit_of_work.check_mergeable(root).unwrap_err();
    assert!(
        matches!(&doubtful, FrameError::Doubtful { events: 1, event_type, .. } if event_type == "unit.counted")
    );
    assert!(
        doubtful.to_string().contains("tests.rs:"),
        "it names the line: {doubtful}"
    );
    assert!(unit_of_work.seal(root).is_err());
    assert!(unit_of_work.flush(root, &Sharding::default()).is_err());
}

#[test]
fn an_event_after_a_failed_statement_is_not_doubtful() {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.statement_failed();
    unit_of_work.scope_sync(|| raise_number(1));
    assert_eq!(flush(&unit_of_work, root), numbers([1]));
}

#[test]
fn flushed_events_become_doubtful_too() {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.scope_sync(|| raise_number(1));
    flush(&unit_of_work, root);
    unit_of_work.statement_failed();
    assert!(matches!(
        unit_of_work.seal(root),
        Err(FrameError::Doubtful { events: 1, .. })
    ));
    assert_eq!(
        unit_of_work.discard_pending(root),
        Err(FrameError::AlreadyFlushed { events: 1 })
    );
}

#[test]
fn keeping_or_discarding_decides_a_doubt() {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.scope_sync(|| raise_number(1));
    unit_of_work.statement_failed();
    unit_of_work.keep_pending(root).unwrap();
    assert_eq!(flush(&unit_of_work, root), numbers([1]));

    let (unit_of_work, root) = UnitOfWork::open();
    let mut counter = Counter::new(1);
    counter.count(1);
    unit_of_work
        .collect(root, counter.pending_events_mut())
        .unwrap();
    unit_of_work.scope_sync(|| raise_number(2));
    unit_of_work.statement_failed();
    unit_of_work.discard_pending(root).unwrap();
    assert!(flush(&unit_of_work, root).is_empty());
    assert!(counter.events.is_empty());
}

#[test]
fn a_failure_in_a_savepoint_of_the_caller_ends_with_it() {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.scope_sync(|| raise_number(1));
    let child = push(&unit_of_work, root);
    unit_of_work.scope_sync(|| raise_number(2));
    unit_of_work.statement_failed();
    assert!(unit_of_work.merge(child).is_err());
    unit_of_work.discard(child);
    assert_eq!(flush(&unit_of_work, root), numbers([1]));
}

#[test]
fn a_failure_in_a_savepoint_of_a_library_is_one_of_the_frame_below() {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.scope_sync(|| raise_number(1));
    let outer = unit_of_work.push_frame(root, Opener::Library).unwrap();
    let inner = unit_of_work.push_frame(outer, Opener::Library).unwrap();
    unit_of_work.statement_failed();
    unit_of_work.discard(inner);
    assert!(
        unit_of_work
            .check_mergeable(root)
            .is_err_and(|error| error == FrameError::ChildOpen)
    );
    unit_of_work.discard(outer);
    assert!(matches!(
        unit_of_work.seal(root),
        Err(FrameError::Doubtful { events: 1, .. })
    ));
}

#[test]
fn a_savepoint_of_the_caller_contains_one_of_a_library() {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.scope_sync(|| raise_number(1));
    let child = push(&unit_of_work, root);
    unit_of_work.push_frame(child, Opener::Library).unwrap();
    unit_of_work.statement_failed();
    unit_of_work.discard(child);
    assert_eq!(flush(&unit_of_work, root), numbers([1]));
}

#[test]
fn a_flush_in_a_savepoint_writes_what_lies_below_first_and_is_undone_with_it() {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.scope_sync(|| raise_number(1));
    let child = push(&unit_of_work, root);
    unit_of_work.scope_sync(|| raise_number(2));
    assert_eq!(flush(&unit_of_work, child), numbers([1, 2]));
    unit_of_work.discard(child);
    assert_eq!(
        flush(&unit_of_work, root),
        numbers([1]),
        "its row went with the savepoint"
    );
}

#[test]
fn a_flush_in_a_released_savepoint_is_undone_with_the_frame_that_took_it_over() {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.scope_sync(|| raise_number(1));
    let outer = push(&unit_of_work, root);
    let inner = push(&unit_of_work, outer);
    assert_eq!(flush(&unit_of_work, inner), numbers([1]));
    unit_of_work.merge(inner).unwrap();
    unit_of_work.discard(outer);
    assert_eq!(flush(&unit_of_work, root), numbers([1]));
}

#[test]
fn events_are_written_in_the_order_in_which_they_were_raised_however_collected() {
    let (mut first, mut second) = (Counter::new(1), Counter::new(2));
    first.count(1);
    second.count(2);
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work
        .collect(root, second.pending_events_mut())
        .unwrap();
    unit_of_work
        .collect(root, first.pending_events_mut())
        .unwrap();
    unit_of_work.scope_sync(|| first.count(3));
    let child = push(&unit_of_work, root);
    unit_of_work.scope_sync(|| second.count(4));
    unit_of_work.merge(child).unwrap();
    first.count(5);
    assert_eq!(flush(&unit_of_work, root), numbers(1..=5));
}

#[test]
fn nothing_is_raised_into_a_sealed_unit_of_work() {
    let (unit_of_work, root) = UnitOfWork::open();
    let mut counter = Counter::new(1);
    unit_of_work.scope_sync(|| raise_number(1));
    assert!(
        !unit_of_work.seal(root).unwrap(),
        "there is something to flush"
    );
    flush(&unit_of_work, root);
    assert!(unit_of_work.seal(root).unwrap());
    unit_of_work.scope_sync(|| {
        assert!(matches!(
            raise(Counted { number: 2 }),
            Err(RaiseError::NoScope { .. })
        ));
        counter.count(3);
    });
    unit_of_work.committed();
    assert_eq!(
        counter.pending_numbers(),
        ["Counted { number: 3 }"],
        "the aggregate keeps it"
    );
    counter.discard();
}

#[test]
fn what_a_collected_aggregate_adds_after_the_last_flush_stays_pending() {
    let mut counter = Counter::new(1);
    counter.count(1);
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work
        .collect(root, counter.pending_events_mut())
        .unwrap();
    flush(&unit_of_work, root);
    assert!(unit_of_work.seal(root).unwrap());
    counter.count(2);
    unit_of_work.committed();
    assert_eq!(counter.pending_numbers(), ["Counted { number: 2 }"]);
    counter.discard();
}

#[test]
fn an_event_raised_while_a_flush_is_written_is_not_taken_for_written() {
    let mut counter = Counter::new(1);
    counter.count(1);
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work
        .collect(root, counter.pending_events_mut())
        .unwrap();
    let writing = unit_of_work.flush(root, &Sharding::default()).unwrap();
    counter.discard();
    counter.count(2);
    writing.done();
    assert_eq!(flush(&unit_of_work, root), numbers([2]));
}

#[test]
fn what_a_flush_had_before_may_be_known_and_what_none_had_may_not() {
    let (unit_of_work, frame) = UnitOfWork::open();
    let mut collected = Counter::new(1);
    collected.count(1);
    unit_of_work.collect(frame, &mut collected.events).unwrap();
    unit_of_work.scope_sync(|| raise_number(2));
    let offered = unit_of_work.flush(frame, &Sharding::default()).unwrap();
    assert!(offered.entries.iter().all(|entry| !entry.may_be_known));
    drop(offered);

    unit_of_work.scope_sync(|| raise_number(3));
    let again = unit_of_work.flush(frame, &Sharding::default()).unwrap();
    let may_be_known: Vec<_> = again
        .entries
        .iter()
        .map(|entry| entry.may_be_known)
        .collect();
    assert_eq!(may_be_known, [true, true, false]);
    drop(again);

    unit_of_work.discard(frame);
    let (unit_of_work, frame) = UnitOfWork::open();
    unit_of_work.collect(frame, &mut collected.events).unwrap();
    let retried = unit_of_work.flush(frame, &Sharding::default()).unwrap();
    assert!(
        retried.entries[0].may_be_known,
        "the first commit may have been done after all"
    );
}

#[test]
fn a_flush_that_is_dropped_leaves_the_events_unflushed() {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.scope_sync(|| raise_number(1));
    drop(unit_of_work.flush(root, &Sharding::default()).unwrap());
    assert_eq!(flush(&unit_of_work, root), numbers([1]));
}

#[test]
fn raising_free_of_an_aggregate_needs_a_scope() {
    let refused = raise(Counted { number: 1 }).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("`unit.counted` was raised outside any transaction"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_spawned_task_sees_the_scope_only_if_it_carries_the_handle() {
    let (unit_of_work, root) = UnitOfWork::open();
    let carried = unit_of_work.clone();
    let tasks = unit_of_work.scope(async move {
        let without = tokio::spawn(async { raise(Counted { number: 1 }).is_err() });
        let with = tokio::spawn(async move { carried.scope(async { raise_number(2) }).await });
        (without.await.unwrap(), with.await.unwrap())
    });
    assert_eq!(tasks.await, (true, ()));
    assert_eq!(flush(&unit_of_work, root), numbers([2]));
}

#[tokio::test]
async fn an_inner_scope_hides_the_outer_one_until_it_ends() {
    let (outer, outer_root) = UnitOfWork::open();
    let (inner, inner_root) = UnitOfWork::open();
    let work = async {
        raise_number(1);
        inner.scope(ready(()).then_raise(2)).await;
        raise_number(3);
    };
    outer.scope(work).await;
    assert_eq!(flush(&inner, inner_root), numbers([2]));
    assert_eq!(flush(&outer, outer_root), numbers([1, 3]));
}

trait ThenRaise: Future<Output = ()> + Sized {
    async fn then_raise(self, number: u32) {
        self.await;
        raise_number(number);
    }
}

impl ThenRaise for std::future::Ready<()> {}
