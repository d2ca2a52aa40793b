//! The events of aggregates whose lists are collected.

use super::*;

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
fn discarding_gives_back_only_what_was_pending_before_the_scope() {
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
fn events_added_in_a_savepoint_go_with_the_savepoint() {
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
fn flushed_events_added_in_a_savepoint_go_with_the_savepoint() {
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
fn events_added_in_a_released_savepoint_are_kept() {
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
