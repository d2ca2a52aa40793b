//! Held rows whose wait an operator ends: what is due then, and what goes on waiting.

use std::time::Duration;

use bento_relay::dead_letter::{Operator, OperatorError};
use bento_relay::held::{HeldEvents, HeldFilter};
use bento_relay::inspect::{Inspect, StatusCounts};
use bento_relay::publish::{Destination, MemoryPublisher, PublishError, Publishers};
use bento_relay::retry::RetryPolicy;
use bento_relay::route::{Router, Rule};
use bento_relay::store::{Advance, OutboxRow, Outcome, RelayId, Settlement, Unroutable};
use bento_relay::tenant::{Pauses, Refusal, TenantAction, TenantRequest};
use bento_relay::{Relay, RelayStore};

use super::StoreHarness;
use super::bench::{
    Bench, LONG, beat, call, died, event, event_of_tenant, failed, failure, follows, heartbeat,
    held_numbers, number_of, open, sharding, unordered_event,
};

/// The wait of a head ends, its attempts stay, and its followers come behind it; what is due
/// already is not counted.
pub async fn what_waits_is_due_at_once_with_its_attempts_and_its_followers<H: StoreHarness>(
    harness: &H,
) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([
            event("a", 1),
            event("a", 2),
            unordered_event(3),
            event("b", 4),
            event("a", 5),
        ])
        .await;
    let mut settled = vec![
        failed(&rows[0], LONG),
        follows(&rows[1]),
        failed(&rows[2], LONG),
    ];
    settled.extend([failed(&rows[3], Duration::ZERO), follows(&rows[4])]);
    assert_eq!(held_numbers(&bench.settle(settled).await.held), [4]);
    assert_eq!(retry(&bench, &HeldFilter::default()).await, 2);
    let next = bench.next().await;
    let of_a: Vec<_> = next
        .held
        .iter()
        .filter(|held| held.row.envelope.aggregate_id == "a")
        .collect();
    assert_eq!(
        of_a.iter()
            .map(|held| number_of(&held.row.envelope))
            .collect::<Vec<_>>(),
        [1, 2, 5]
    );
    assert_eq!(
        of_a.iter().map(|held| held.attempts).collect::<Vec<_>>(),
        [1, 0, 0]
    );
    assert_eq!((next.held.len(), next.next_due), (5, None));
    assert_eq!(
        retry(&bench, &HeldFilter::default()).await,
        0,
        "nothing waits any more"
    );
}

/// A filter names a route, a tenant, an aggregate, or several of them; the others go on waiting.
pub async fn only_what_the_filter_names_is_due_at_once<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([
            event_of_tenant("acme", 1),
            event_of_tenant("other", 2),
            event("a", 3),
        ])
        .await;
    let to = |row: &OutboxRow, route: &str| {
        let (position, route) = (row.position, route.into());
        Settlement::pending(position, route, Outcome::Retry(failure(1, LONG)))
    };
    bench
        .settle(
            rows.iter()
                .flat_map(|row| [to(row, "left"), to(row, "right")])
                .collect(),
        )
        .await;
    let due = async |filter: HeldFilter| {
        let count = retry(&bench, &filter).await;
        let held = bench.next().await.held;
        assert_eq!(count, held.len() as u64, "{filter:?}");
        let due = held
            .iter()
            .map(|held| (number_of(&held.row.envelope), held.route.to_string()));
        let mut due: Vec<_> = due.collect();
        due.sort();
        let wait_again = held
            .iter()
            .map(|held| super::bench::held_failed(held, 1, LONG))
            .collect();
        assert_eq!(held_numbers(&bench.settle(wait_again).await.held), [0; 0]);
        due
    };
    let named = |expected: &[(u32, &str)]| {
        expected
            .iter()
            .map(|(number, to)| (*number, (*to).to_owned()))
            .collect::<Vec<_>>()
    };
    let any = HeldFilter::default;
    assert_eq!(
        due(any().route("left")).await,
        named(&[(1, "left"), (2, "left"), (3, "left")])
    );
    assert_eq!(
        due(any().tenant("acme")).await,
        named(&[(1, "left"), (1, "right")])
    );
    assert_eq!(
        due(any().aggregate("thing", "a")).await,
        named(&[(3, "left"), (3, "right")])
    );
    assert_eq!(
        due(any().tenant("other").route("right")).await,
        named(&[(2, "right")])
    );
    assert_eq!(due(any().aggregate("other", "a")).await, []);
    assert_eq!(due(any().route("Left")).await, []);
    assert_eq!(due(any()).await.len(), 6);
}

/// Rows behind a dead letter that parks their aggregate, and rows of a paused tenant, wait for that
/// and for nothing else.
pub async fn what_waits_for_another_event_goes_on_waiting<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([
            event("a", 1),
            event("a", 2),
            event_of_tenant("acme", 3),
            event("b", 4),
        ])
        .await;
    bench
        .settle(vec![
            died(&rows[0], true),
            follows(&rows[1]),
            failed(&rows[2], LONG),
            failed(&rows[3], LONG),
        ])
        .await;
    assert!(
        bench
            .store
            .pause("acme", "it asked for it", None)
            .await
            .expect("the store is there")
    );
    assert_eq!(
        retry(&bench, &HeldFilter::default()).await,
        2,
        "the follower has no wait of its own"
    );
    assert_eq!(held_numbers(&bench.next().await.held), [4]);
    assert!(
        bench
            .store
            .resume("acme")
            .await
            .expect("the store is there")
    );
    assert_eq!(held_numbers(&bench.next().await.held), [3, 4]);
}

/// It is looked at again at once, and its patience runs on.
pub async fn an_unroutable_row_keeps_the_time_since_when_it_is<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let row = bench.pending([event("a", 1)]).await.remove(0);
    let obstacle = Unroutable {
        retry_after: LONG,
        error: "no rule applies".to_owned(),
    };
    let (position, route) = (row.position, "unroutable".into());
    bench
        .settle(vec![Settlement::pending(
            position,
            route,
            Outcome::Unroutable(obstacle),
        )])
        .await;
    harness.pass(harness.short()).await;
    assert_eq!(
        retry(&bench, &HeldFilter::default().route("unroutable")).await,
        1
    );
    let held = bench.next().await.held.remove(0);
    assert!(
        held.unroutable_for >= Some(harness.short()),
        "{:?}",
        held.unroutable_for
    );
}

/// A relay learns of it where something is due, and is not called to where nothing is.
pub async fn only_the_shards_concerned_have_another_revision<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(3, 1)).await;
    let mut leases = beat(&store, heartbeat(RelayId::new(), LONG)).await.leases;
    leases.sort_by_key(|lease| lease.shard);
    for (shard, tenant) in [(0, "acme"), (2, "acme"), (1, "other")] {
        let mut entry = event_of_tenant(tenant, 1);
        entry.shard = shard;
        harness.append(vec![entry]).await;
    }
    let advance = async |request: Advance| store.advance(request).await.expect("the lease is held");
    let mut before = Vec::new();
    for lease in &leases {
        let row = advance(call(*lease)).await.pending.remove(0);
        before.push(
            advance(Advance {
                settled: vec![failed(&row, LONG)],
                ..call(*lease)
            })
            .await
            .revision,
        );
    }
    let filter = HeldFilter::default().tenant("acme");
    assert_eq!(
        store.retry_now(&filter).await.expect("the store is there"),
        2
    );
    for (lease, before) in leases.iter().zip(before) {
        let after = advance(call(*lease)).await;
        let is_concerned = lease.shard != 1;
        assert_eq!(
            (after.revision != before, after.held.len() == 1),
            (is_concerned, is_concerned),
            "{lease:?}"
        );
    }
}

/// A relay that knew a shard to be quiet finds it busy.
pub async fn a_poll_finds_what_is_due_at_once<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending([event("a", 1)]).await;
    bench.settle(vec![failed(&rows[0], LONG)]).await;
    assert_eq!(held_numbers(&bench.next().await.held), [0; 0]);
    let poll = async || {
        bench
            .store
            .poll(&[0], &[])
            .await
            .expect("the store is there")
            .len()
    };
    assert_eq!(poll().await, 0);
    assert_eq!(
        retry(&bench, &HeldFilter::default().aggregate("thing", "a")).await,
        1
    );
    assert_eq!(poll().await, 1);
}

/// A relay that runs tries what is due at once without a restart, and an aggregate keeps its order.
pub async fn a_running_relay_tries_at_its_next_poll_and_keeps_the_order<H: StoreHarness>(
    harness: &H,
) {
    let broker = MemoryPublisher::new();
    broker.fail(|delivery| (delivery.attempts == 0).then(|| PublishError::transient("busy")));
    let store = open(harness, sharding(2, 1)).await;
    let relay = Relay::builder(open(harness, sharding(2, 1)).await, broker.clone());
    let relay = relay
        .retry(RetryPolicy::fixed(LONG, 5))
        .failure_threshold(1000)
        .start()
        .expect("a runtime is there");
    let events = (1..=12).map(|number| event(["a", "b", "c"][number as usize % 3], number));
    harness.append(events.collect()).await;
    let all_wait = StatusCounts {
        pending: 0,
        held: 12,
        dead: 0,
    };
    until(async || store.counts().await.expect("the store is there") == all_wait).await;
    let mut published = 0;
    // A head that succeeds makes way for one that was never tried and fails.
    while published < 12 {
        let ended = store
            .retry_now(&HeldFilter::default())
            .await
            .expect("the store is there");
        let expected = published + usize::try_from(ended).expect("few");
        until(async || broker.published().len() >= expected).await;
        published = broker.published().len();
    }
    relay.stop().await.expect("a relay stops");
    let got = broker.published();
    for aggregate in ["a", "b", "c"] {
        let of: Vec<_> = got
            .iter()
            .filter(|delivery| delivery.envelope.aggregate_id == aggregate)
            .collect();
        let numbers: Vec<_> = of
            .iter()
            .map(|delivery| number_of(&delivery.envelope))
            .collect();
        assert!(
            numbers.len() == 4 && numbers.is_sorted(),
            "{aggregate}: {numbers:?}"
        );
    }
}

/// A relay puts an event back that is to be delivered later, in its turn or out of it.
pub async fn an_event_is_not_delivered_before_its_delay<H: StoreHarness>(harness: &H) {
    let broker = MemoryPublisher::new();
    let store = open(harness, sharding(1, 1)).await;
    harness
        .append(vec![event("a", 1), event("a", 2), unordered_event(3)])
        .await;
    let later = |name: &'static str| Rule::new(name).to([name]).delay(LONG);
    let pass = async || {
        let publishers = Publishers::new()
            .with("left", broker.clone())
            .with("right", broker.clone());
        let router = Router::builder().destination(Destination::new("left"));
        let router = router
            .destination(Destination::new("right"))
            .rule(later("left").keeps_order());
        let router = router
            .rule(later("right"))
            .build()
            .expect("the rules are sound");
        let store = harness.store(sharding(1, 1)).await;
        let pass = Relay::builder(store, publishers)
            .router(router)
            .run_until_empty();
        pass.await.expect("the store is there").tally.delayed
    };
    pass().await;
    for _ in 0..2 {
        let ended = store
            .retry_now(&HeldFilter::default())
            .await
            .expect("the store is there");
        assert_eq!(
            (ended, pass().await, broker.published().len()),
            (5, 5, 0),
            "one waits behind another"
        );
    }
    assert_eq!(store.counts().await.expect("the store is there").held, 6);
}

/// An operator who may end the waits of one tenant may not end those of another, nor all of them.
pub async fn an_operator_of_one_tenant_leaves_the_others_waiting<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([event_of_tenant("acme", 1), event_of_tenant("other", 2)])
        .await;
    bench
        .settle(rows.iter().map(|row| failed(row, LONG)).collect())
        .await;
    let alice = Operator::new(&bench.store, "alice").with_policy(|request: &TenantRequest| {
        let is_hers = request.tenant.as_deref() == Some("acme");
        if is_hers {
            Ok(())
        } else {
            Err(Refusal::new("she looks after acme"))
        }
    });
    for filter in [HeldFilter::default(), HeldFilter::default().tenant("other")] {
        let refused = match alice.retry_now(&filter).await {
            Err(OperatorError::Refused(refused)) => refused.request,
            answer => panic!("it was not refused: {answer:?}"),
        };
        let asked = TenantRequest::new(
            Some("alice"),
            filter.tenant_id.as_deref(),
            TenantAction::RetryNow,
        );
        assert_eq!(refused, asked);
    }
    assert_eq!(held_numbers(&bench.next().await.held), [0; 0]);
    assert_eq!(
        alice
            .retry_now(&HeldFilter::default().tenant("acme"))
            .await
            .expect("she may"),
        1
    );
    assert_eq!(held_numbers(&bench.next().await.held), [1]);
}

async fn retry<H: StoreHarness>(bench: &Bench<'_, H>, filter: &HeldFilter) -> u64 {
    bench
        .store
        .retry_now(filter)
        .await
        .expect("the store is there")
}

/// Waits until it is so, for at most a minute.
async fn until(is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect("it comes to be so in time");
}
