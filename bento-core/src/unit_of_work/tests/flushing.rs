//! The events that a flush writes, in which order, and what undoes it.

use super::*;

#[test]
fn a_flush_in_a_savepoint_writes_the_frames_below_and_is_undone() {
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
fn a_flush_in_a_released_savepoint_is_undone_with_the_frame_below() {
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
fn events_are_written_in_the_order_of_raising_however_collected() {
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
fn events_added_after_the_last_flush_stay_pending() {
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
fn an_event_raised_while_a_flush_is_written_is_not_flushed() {
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
