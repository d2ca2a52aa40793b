//! Failed statements, and the events that they make doubtful.

use super::*;

#[test]
fn a_failed_statement_makes_the_events_before_it_doubtful() {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.scope_sync(|| raise_number(1));
    unit_of_work.statement_failed();
    let doubtful = unit_of_work.check_mergeable(root).unwrap_err();
    assert!(matches!(
        &doubtful,
        FrameError::Doubtful { events: 1, event_type, .. } if event_type == "unit.counted"
    ));
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
fn a_failure_in_a_savepoint_of_a_library_counts_below() {
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
