//! The scope that a caller runs in, and the tasks that do not see it.

use std::future::ready;

use super::*;

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
