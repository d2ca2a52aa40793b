//! Dead letters: what is kept, who is parked, replay and discard.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bento_relay::RelayStore;
use bento_relay::dead_letter::{
    DeadLetter, DeadLetterFilter, DeadLetterQuery, DeadLetters, Discarding, Replayed,
};
use bento_relay::publish::Destination;
use bento_relay::store::{HeldRow, NewDeadLetter, OutboxRow, Outcome, Settlement};

use super::StoreHarness;
use super::bench::{
    Bench, dead_letter, default_route, died, event, event_of_tenant, failed, failure, follows,
    held_numbers, held_published, number_of, unordered_event,
};

/// Everything about a dead letter is kept: the event, where it was, and why it died.
pub async fn a_dead_letter_is_kept_whole<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let row = bench.pending([event("a", 1)]).await.remove(0);
    let before = chrono::Utc::now();
    let delivered = vec!["first".into(), "second".into()];
    let dead = NewDeadLetter {
        attempts: 5,
        cause: NewDeadLetter::MAX_ATTEMPTS.into(),
        delivered: delivered.clone(),
        ..dead_letter(true)
    };
    bench
        .settle(vec![Settlement::pending(
            row.position,
            default_route(),
            Outcome::Dead(dead),
        )])
        .await;
    let letter = list(&bench, query()).await.remove(0);
    assert_eq!(
        (&letter.envelope, letter.position, letter.shard),
        (&row.envelope, row.position, 0)
    );
    assert_eq!(
        (&*letter.route, letter.attempts, letter.parks),
        (Destination::DEFAULT, 5, true)
    );
    assert_eq!(
        (&*letter.cause, &*letter.error),
        (NewDeadLetter::MAX_ATTEMPTS, "refused: no such topic")
    );
    // A clock that is read twice may tick between.
    let since = letter.failed_at - letter.first_failed_at;
    assert!(
        letter.delivered == delivered && since.abs() < chrono::TimeDelta::milliseconds(50),
        "{letter:?}"
    );
    let id = row.envelope.event_id;
    assert_eq!(
        bench
            .store
            .find(id, Destination::DEFAULT)
            .await
            .expect("the store is there"),
        Some(letter.clone())
    );
    assert_eq!(
        bench
            .store
            .find(id, "elsewhere")
            .await
            .expect("the store is there"),
        None
    );
    let apart = (letter.failed_at - before).abs();
    assert!(
        apart < chrono::TimeDelta::minutes(5),
        "failed at {}, now is {before}",
        letter.failed_at
    );
}

/// A dead letter tells when it failed for the first time.
pub async fn the_first_failure_is_remembered<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let row = bench.pending([event("a", 1)]).await.remove(0);
    let held = bench
        .settle(vec![failed(&row, Duration::ZERO)])
        .await
        .held
        .remove(0);
    harness.pass(Duration::from_millis(5)).await;
    let (position, route) = (held.row.position, default_route());
    bench
        .settle(vec![Settlement::held(
            position,
            route,
            Outcome::Dead(dead_letter(true)),
        )])
        .await;
    let letter = list(&bench, query()).await.remove(0);
    assert!(
        letter.first_failed_at < letter.failed_at,
        "{} and {}",
        letter.first_failed_at,
        letter.failed_at
    );
}

/// An event that only waited has no failure.
pub async fn waiting_without_an_attempt_is_no_failure<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending([event("a", 1), event("b", 2)]).await;
    let untried = |row: &OutboxRow| {
        Settlement::pending(
            row.position,
            default_route(),
            Outcome::Retry(failure(0, Duration::ZERO)),
        )
    };
    let held = bench.settle(rows.iter().map(untried).collect()).await.held;
    harness.pass(Duration::from_millis(100)).await;
    let (position, route) = (held[0].row.position, default_route());
    let failure = failure(0, Duration::ZERO);
    bench
        .settle(vec![Settlement::held(
            position,
            route,
            Outcome::Retry(failure),
        )])
        .await;
    harness.pass(Duration::from_millis(100)).await;
    let bury = |row: &HeldRow| {
        let (position, route) = (row.row.position, default_route());
        Settlement::held(position, route, Outcome::Dead(dead_letter(true)))
    };
    bench.settle(held.iter().map(bury).collect()).await;
    let letters = list(&bench, query()).await;
    assert_eq!(letters.len(), 2);
    for letter in letters {
        let since = letter.failed_at - letter.first_failed_at;
        assert!(
            since < chrono::TimeDelta::milliseconds(50),
            "it failed {since} before"
        );
    }
}

/// A dead letter parks the held rows of its aggregate; other aggregates go on.
pub async fn a_dead_letter_parks_its_aggregate_only<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([event("a", 1), event("a", 2), event("b", 3)])
        .await;
    let settled = vec![
        died(&rows[0], true),
        follows(&rows[1]),
        failed(&rows[2], Duration::ZERO),
    ];
    let parked = bench.settle(settled).await;
    assert_eq!(
        (held_numbers(&parked.held), parked.next_due),
        (vec![3], None)
    );
    assert_eq!(parked.streams.expect("asked for").len(), 2);
    let free = bench.settle(vec![held_published(&parked.held[0])]).await;
    let streams = free.streams.expect("asked for");
    assert_eq!(
        streams
            .iter()
            .map(|stream| &*stream.aggregate_id)
            .collect::<Vec<_>>(),
        ["a"]
    );
    assert_eq!(
        bench
            .store
            .poll(&[0], &[])
            .await
            .expect("the store is there"),
        Vec::<i32>::new(),
        "a parked row is not work"
    );
}

/// A held row that is given up becomes a dead letter; its followers stay.
pub async fn a_held_row_can_be_given_up<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending([event("a", 1), event("a", 2)]).await;
    let held = bench
        .settle(vec![failed(&rows[0], Duration::ZERO), follows(&rows[1])])
        .await
        .held;
    let given_up = Settlement::held(
        held[0].row.position,
        default_route(),
        Outcome::Dead(NewDeadLetter {
            attempts: 2,
            ..dead_letter(true)
        }),
    );
    assert_eq!(bench.settle(vec![given_up]).await.held, []);
    let letters = list(&bench, query()).await;
    assert_eq!(
        (
            dead_numbers(&letters),
            letters[0].attempts,
            &letters[0].envelope
        ),
        (vec![1], 2, &rows[0].envelope)
    );
}

/// Events without order park no aggregate, and their replay is never late.
pub async fn an_event_without_order_parks_nothing<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending((1..=2).map(unordered_event)).await;
    let free = bench
        .settle(vec![
            died(&rows[0], false),
            failed(&rows[1], Duration::ZERO),
        ])
        .await;
    assert_eq!(
        (held_numbers(&free.held), free.streams),
        (vec![2], Some(vec![]))
    );
    assert_eq!(
        replay(&bench, &rows[0]).await,
        Replayed {
            replayed: true,
            later_ones_out: false
        }
    );
    assert_eq!(
        BTreeSet::from_iter(held_numbers(&bench.next().await.held)),
        BTreeSet::from([1, 2])
    );
}

/// The list is ordered by time of failure, then by event and route, and can be read page by page.
pub async fn dead_letters_are_listed_oldest_first_and_paged<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending((1..=4).map(|number| event("a", number)))
        .await;
    bench.settle(vec![died(&rows[3], true)]).await;
    harness.pass(Duration::from_millis(5)).await;
    let elsewhere = |row: &OutboxRow| buried_for("elsewhere", row);
    bench
        .settle(
            rows[..3]
                .iter()
                .flat_map(|row| [died(row, true), elsewhere(row)])
                .collect(),
        )
        .await;
    let mut pages = Vec::new();
    let mut query = query().limit(2);
    loop {
        let page = list(&bench, query.clone()).await;
        let Some(last) = page.last() else { break };
        query = query.after(last.cursor());
        pages.push(dead_numbers(&page));
    }
    assert_eq!(
        pages.concat()[0],
        4,
        "the oldest failure is first: {pages:?}"
    );
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2, 1]);
    let mut numbers = pages.concat();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 1, 2, 2, 3, 3, 4], "each once for each route");
    assert_eq!(list(&bench, DeadLetterQuery::default()).await.len(), 7);
    assert_eq!(
        list(&bench, DeadLetterQuery::default().limit(u64::MAX))
            .await
            .len(),
        7,
        "more than there are is all"
    );
}

/// The list can be narrowed by event type, tenant, route, aggregate, cause and time of failure.
pub async fn dead_letters_are_filtered<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let mut typed = event("b", 2);
    typed.envelope.event_type = "other.happened".into();
    let rows = bench
        .pending([
            event("a", 1),
            typed,
            event_of_tenant("acme", 3),
            event("a", 4),
        ])
        .await;
    bench
        .settle(vec![
            buried_for("elsewhere", &rows[0]),
            died(&rows[1], true),
            died(&rows[2], true),
        ])
        .await;
    harness.pass(Duration::from_millis(5)).await;
    let dead = NewDeadLetter {
        cause: NewDeadLetter::EXPIRED.into(),
        ..dead_letter(true)
    };
    bench
        .settle(vec![Settlement::pending(
            rows[3].position,
            default_route(),
            Outcome::Dead(dead),
        )])
        .await;
    let filtered = async |filter| dead_numbers(&list(&bench, DeadLetterQuery::of(filter)).await);
    let any = DeadLetterFilter::default;
    let mut early = filtered(any().cause(NewDeadLetter::PERMANENT)).await;
    early.sort_unstable();
    assert_eq!(early, [1, 2, 3]);
    assert_eq!(filtered(any().cause(NewDeadLetter::EXPIRED)).await, [4]);
    assert_eq!(filtered(any().event_type("other.happened")).await, [2]);
    assert_eq!(filtered(any().tenant("acme")).await, [3]);
    assert_eq!(filtered(any().route("elsewhere")).await, [1]);
    assert_eq!(filtered(any().aggregate("thing", "b")).await, [2]);
    assert_eq!(filtered(any().aggregate("thing", "nobody")).await, [0; 0]);
    assert_eq!(
        filtered(any().aggregate("thing", "a").route("elsewhere")).await,
        [1]
    );
    let last = list(&bench, query())
        .await
        .pop()
        .expect("four are dead")
        .failed_at;
    assert_eq!(
        filtered(any().failed_since(last)).await,
        [4],
        "from then on"
    );
    assert_eq!(
        filtered(any().failed_until(last)).await.len(),
        3,
        "before it"
    );
}

pub(super) fn query() -> DeadLetterQuery {
    DeadLetterQuery::default()
}

pub(super) async fn list<H: StoreHarness>(
    bench: &Bench<'_, H>,
    query: DeadLetterQuery,
) -> Vec<DeadLetter> {
    bench.store.list(&query).await.expect("the store is there")
}

pub(super) async fn replay<H: StoreHarness>(bench: &Bench<'_, H>, row: &OutboxRow) -> Replayed {
    bench
        .store
        .replay(row.envelope.event_id, Destination::DEFAULT)
        .await
        .expect("the store is there")
}

pub(super) async fn discard<H: StoreHarness>(bench: &Bench<'_, H>, row: &OutboxRow) -> bool {
    let id = row.envelope.event_id;
    bench
        .store
        .discard(id, Destination::DEFAULT, &needless())
        .await
        .expect("the store is there")
}

pub(super) fn needless() -> Discarding {
    Discarding::because("not needed any more").expect("it says something")
}

fn buried_for(route: &str, row: &OutboxRow) -> Settlement {
    Settlement::pending(row.position, route.into(), Outcome::Dead(dead_letter(true)))
}

pub(super) fn dead_numbers(letters: &[DeadLetter]) -> Vec<u32> {
    letters
        .iter()
        .map(|letter| number_of(&letter.envelope))
        .collect()
}

/// A dead letter for the route `unreadable` parks its aggregate on every route, and no other
/// aggregate, until it is discarded.
pub async fn a_row_that_cannot_be_read_parks_its_aggregate_on_every_route<H: StoreHarness>(
    harness: &H,
) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([event("a", 1), event("a", 2), event("b", 3), event("a", 4)])
        .await;
    let to = |row: &OutboxRow, route: &str| {
        let (position, route) = (row.position, route.into());
        Settlement::pending(position, route, Outcome::Behind)
    };
    let unreadable: Arc<str> = NewDeadLetter::UNREADABLE.into();
    let dead = NewDeadLetter {
        cause: NewDeadLetter::UNREADABLE.into(),
        ..dead_letter(true)
    };
    let lost = Settlement::pending(
        rows[0].position,
        Arc::clone(&unreadable),
        Outcome::Dead(dead),
    );
    let held = vec![
        to(&rows[1], "x"),
        to(&rows[1], "y"),
        to(&rows[2], "x"),
        to(&rows[3], "y"),
    ];
    let before = bench.settle([vec![lost], held].concat()).await;
    assert_eq!(held_numbers(&before.held), [3]);
    let streams = before.streams.expect("nothing is known before");
    assert!(
        streams
            .iter()
            .any(|stream| stream.route == unreadable && stream.aggregate_id == "a"),
        "{streams:?}"
    );
    let discarding = Discarding::because("written anew").expect("it says something");
    let discarded = bench
        .store
        .discard(rows[0].envelope.event_id, &unreadable, &discarding)
        .await;
    assert!(discarded.expect("the store is there"));
    let after = bench.next().await;
    let mut due: Vec<_> = after
        .held
        .iter()
        .map(|held| (&*held.route, number_of(&held.row.envelope)))
        .collect();
    due.sort_unstable();
    assert_eq!(due, [("x", 2), ("x", 3), ("y", 2), ("y", 4)]);
    assert_ne!(before.revision, after.revision);
}
