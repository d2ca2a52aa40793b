//! *Handle again*: where the event comes from, and when nothing is to be done.

use std::sync::Arc;
use std::time::Duration;

use bento_relay::RelayStore;
use bento_relay::dead_letter::{DeadLetters, Discarding};
use bento_relay::handler_control::{HandledAgain, HandlerControl};
use bento_relay::publish::HandlerRoute;
use bento_relay::store::{Advance, Advanced, HeldRow, OutboxRow, Outcome, Settlement, StoreError};

use super::StoreHarness;
use super::bench::{
    Bench, call, dead_letter, event, held_numbers, held_published, number_of, numbers, published,
};

const MAIL: &str = "mail.send";

/// An event that is pending or held for the handler, and was not handled, is handled anyway.
pub async fn an_event_that_waits_is_not_put_back<H: StoreHarness>(harness: &H) {
    let bench = bench(harness).await;
    let rows = bench.pending([event("a", 1), event("b", 2)]).await;
    let settled = vec![for_mail(&rows[0], Outcome::Behind)];
    let revision = bench.settle(settled).await.revision;
    for row in &rows {
        let waits = again(&bench, row).await;
        assert_eq!(waits, HandledAgain::Waits { generation: 0 });
    }
    let next = bench.next().await;
    assert_eq!((next.revision, next.held.len()), (revision, 1));
}

/// A pending event that lies before the beginning of the handler is put back.
pub async fn a_pending_event_before_the_beginning_is_put_back<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending([event("a", 1)]).await;
    record(&bench.store).await;
    let put_back = again(&bench, &rows[0]).await;
    assert_eq!(put_back, HandledAgain::PutBack { generation: 1 });
    let next = bench.next().await;
    assert_eq!(
        (held_numbers(&next.held), numbers(&next.pending)),
        (vec![1], vec![1])
    );
    assert_ne!(next.held[0].row.position, rows[0].position);
}

/// A dead letter of the handler is replayed, with its place and under the same generation.
pub async fn a_dead_letter_of_the_handler_is_replayed<H: StoreHarness>(harness: &H) {
    let bench = bench(harness).await;
    let rows = bench.pending([event("a", 1), event("a", 2)]).await;
    let settled = vec![
        for_mail(&rows[0], Outcome::Dead(dead_letter(true))),
        for_mail(&rows[1], Outcome::Behind),
    ];
    assert_eq!(bench.settle(settled).await.held, []);
    let replayed = again(&bench, &rows[0]).await;
    assert_eq!(replayed, HandledAgain::Replayed { generation: 0 });
    let held = bench.next().await.held;
    assert_eq!(held_numbers(&held), [1, 2]);
    assert_eq!(
        (held[0].row.position, held[0].ordered),
        (rows[0].position, true)
    );
}

/// A row that is put back comes at once, without a place: it waits neither for a held event of its
/// aggregate nor for a dead letter that parks it, and keeps none back.
pub async fn what_is_put_back_is_out_of_order<H: StoreHarness>(harness: &H) {
    let bench = bench(harness).await;
    let rows = bench
        .pending([event("a", 1), event("a", 2), event("a", 3)])
        .await;
    let settled = vec![
        published(&rows[0]),
        for_mail(&rows[1], Outcome::Dead(dead_letter(true))),
        for_mail(&rows[2], Outcome::Behind),
    ];
    keep(&bench, settled).await;
    let revision = bench.next().await.revision;
    let put_back = again(&bench, &rows[0]).await;
    assert_eq!(put_back, HandledAgain::PutBack { generation: 1 });
    let next = bench.next().await;
    assert_ne!(next.revision, revision);
    assert_eq!(held_numbers(&next.held), [1]);
    let held = &next.held[0];
    assert_eq!(
        (&*held.route, held.ordered, held.attempts),
        (MAIL, false, 0)
    );
    let polled = bench.store.poll(&[0], &[]).await;
    assert_eq!(polled.expect("the store is there"), [0]);
    // It waits now, so nothing more is to be done.
    let waits = again(&bench, &rows[0]).await;
    assert_eq!(waits, HandledAgain::Waits { generation: 1 });
    let next = bench.settle(vec![held_published(held)]).await;
    assert_eq!(next.held, []);
}

/// An event of which another route still has the row is found there, also beside a dead letter of
/// the same route.
pub async fn a_row_of_another_route_is_found<H: StoreHarness>(harness: &H) {
    let bench = bench(harness).await;
    let rows = bench.pending([event("a", 1), event("b", 2)]).await;
    let for_route = |row: &OutboxRow, route: &str, outcome| {
        Settlement::pending(row.position, Arc::from(route), outcome)
    };
    let settled = vec![
        for_route(
            &rows[0],
            "nats",
            Outcome::Delayed(Duration::from_secs(3_600)),
        ),
        for_route(
            &rows[0],
            "kafka",
            Outcome::Delayed(Duration::from_secs(3_600)),
        ),
        for_route(&rows[1], "nats", Outcome::Dead(dead_letter(true))),
        for_route(&rows[1], "kafka", Outcome::Dead(dead_letter(true))),
    ];
    bench.settle(settled).await;
    for row in &rows {
        let put_back = again(&bench, row).await;
        assert_eq!(put_back, HandledAgain::PutBack { generation: 1 });
    }
    let held = bench.next().await.held;
    assert_eq!(held_numbers(&held), [1, 2]);
    assert!(held.iter().all(|held| &*held.route == MAIL), "{held:?}");
}

/// A settlement of the row that an event had leaves what was put back alone.
pub async fn a_settlement_under_way_does_not_settle_it<H: StoreHarness>(harness: &H) {
    let bench = bench(harness).await;
    let rows = bench.pending([event("a", 1)]).await;
    let dead = Settlement::pending(
        rows[0].position,
        MAIL.into(),
        Outcome::Dead(dead_letter(true)),
    );
    let stock = Settlement::pending(rows[0].position, "stock".into(), Outcome::Behind);
    bench.settle(vec![dead, stock]).await;
    discard(&bench, &rows[0]).await;
    let put_back = again(&bench, &rows[0]).await;
    assert_eq!(put_back, HandledAgain::PutBack { generation: 1 });
    // The answer to the row of another route, and a repeated one to the row of this route.
    let done = |route: &str| Settlement::held(rows[0].position, route.into(), Outcome::Published);
    let left = bench.settle(vec![done("stock"), done(MAIL)]).await.held;
    assert_eq!(held_numbers(&left), [1]);
}

/// A discarded dead letter of a recorded handler is done with: each *handle again* of it raises the
/// generation. What is marked and in no table is put back under the same one.
pub async fn each_time_the_generation_is_raised_once<H: StoreHarness>(harness: &H) {
    let bench = bench(harness).await;
    let rows = bench.pending([event("a", 1)]).await;
    keep(&bench, vec![published(&rows[0])]).await;
    for generation in 1..4 {
        let put_back = again(&bench, &rows[0]).await;
        assert_eq!(put_back, HandledAgain::PutBack { generation });
        let held = bench.next().await.held.remove(0);
        bench.settle(vec![held_died(&held)]).await;
        discard(&bench, &rows[0]).await;
    }
    let put_back = again(&bench, &rows[0]).await;
    assert_eq!(put_back, HandledAgain::PutBack { generation: 4 });
    let held = bench.next().await.held.remove(0);
    bench.settle(vec![held_published(&held)]).await;
    let put_back = again(&bench, &rows[0]).await;
    assert_eq!(put_back, HandledAgain::PutBack { generation: 4 });
}

/// A dead letter that was handled again and failed keeps its generation when it is replayed.
pub async fn a_replay_keeps_the_generation<H: StoreHarness>(harness: &H) {
    let bench = bench(harness).await;
    let rows = bench.pending([event("a", 1)]).await;
    keep(&bench, vec![published(&rows[0])]).await;
    again(&bench, &rows[0]).await;
    let held = bench.next().await.held.remove(0);
    bench.settle(vec![held_died(&held)]).await;
    let replayed = again(&bench, &rows[0]).await;
    assert_eq!(replayed, HandledAgain::Replayed { generation: 1 });
    let held = bench.next().await.held.remove(0);
    assert_eq!((number_of(&held.row.envelope), held.ordered), (1, false));
}

/// An event that is in no table comes from the caller, whole but for what it said of its delivery.
pub async fn an_event_that_is_gone_comes_from_the_caller<H: StoreHarness>(harness: &H) {
    let bench = bench(harness).await;
    let rows = bench.pending([event("a", 1)]).await;
    bench.settle(vec![published(&rows[0])]).await;
    let event_id = rows[0].envelope.event_id;
    let gone = bench.store.handle_again(MAIL, event_id).await;
    let named = matches!(&gone, Err(StoreError::NoEvent { event_id: id }) if *id == event_id);
    assert!(named, "{gone:?}");
    let mut given = (*rows[0].envelope).clone();
    given.routing = r#"{"expires_at":"2020-01-01T00:00:00Z"}"#.into();
    given.routing_version = 1;
    let put_back = bench.store.handle_envelope_again(MAIL, &given).await;
    let put_back = put_back.expect("the store is there");
    assert_eq!(put_back, HandledAgain::PutBack { generation: 1 });
    let held = bench.next().await.held.remove(0);
    assert_eq!(held.row.envelope, rows[0].envelope);
    // Where it is known it is not written twice.
    let waits = bench.store.handle_envelope_again(MAIL, &given).await;
    let waits = waits.expect("the store is there");
    assert_eq!(waits, HandledAgain::Waits { generation: 1 });
    assert_eq!(bench.next().await.held.len(), 1);
}

/// An unknown handler, an event type that it does not take, and an event that no back end could
/// store are refused, and change nothing.
pub async fn what_no_handler_takes_is_refused<H: StoreHarness>(harness: &H) {
    let bench = bench(harness).await;
    let mut other = event("a", 1);
    other.envelope.event_type = "other.happened".into();
    let rows = bench.pending([other]).await;
    keep(&bench, vec![published(&rows[0])]).await;
    let event_id = rows[0].envelope.event_id;
    let unknown = bench.store.handle_again("mail.Send", event_id).await;
    assert!(
        matches!(unknown, Err(StoreError::UnknownHandler { .. })),
        "{unknown:?}"
    );
    let not_taken = bench.store.handle_again(MAIL, event_id).await;
    assert!(
        matches!(not_taken, Err(StoreError::NotTaken { .. })),
        "{not_taken:?}"
    );
    let mut given = event("a", 2).envelope;
    given.aggregate_id = "no\0such".to_owned();
    let unstorable = bench.store.handle_envelope_again(MAIL, &given).await;
    assert!(
        matches!(unstorable, Err(StoreError::Unstorable(_))),
        "{unstorable:?}"
    );
    assert_eq!(bench.next().await.held, []);
}

/// A bench whose only handler takes the events of the suite from the beginning.
async fn bench<H: StoreHarness>(harness: &H) -> Bench<'_, H> {
    let bench = Bench::new(harness).await;
    record(&bench.store).await;
    bench
}

async fn record(store: &impl RelayStore) {
    let route = HandlerRoute::new(MAIL, ["thing.*"]);
    let recorded = store.record_handlers(&[route]).await;
    recorded.expect("the store is there");
}

async fn again<H: StoreHarness>(bench: &Bench<'_, H>, row: &OutboxRow) -> HandledAgain {
    let done = bench.store.handle_again(MAIL, row.envelope.event_id).await;
    done.expect("the store is there")
}

async fn discard<H: StoreHarness>(bench: &Bench<'_, H>, row: &OutboxRow) {
    let because = Discarding::because("audit").expect("it says something");
    let discarded = (bench.store)
        .discard(row.envelope.event_id, MAIL, &because)
        .await;
    assert!(discarded.expect("the store is there"));
}

/// Settles, and keeps what is published.
async fn keep<H: StoreHarness>(bench: &Bench<'_, H>, settled: Vec<Settlement>) -> Advanced {
    bench
        .advance(Advance {
            settled,
            keep_published: true,
            ..call(bench.lease)
        })
        .await
}

fn for_mail(row: &OutboxRow, outcome: Outcome) -> Settlement {
    Settlement::pending(row.position, MAIL.into(), outcome)
}

fn held_died(held: &HeldRow) -> Settlement {
    let dead = Outcome::Dead(dead_letter(false));
    Settlement::held(held.row.position, Arc::clone(&held.route), dead)
}
