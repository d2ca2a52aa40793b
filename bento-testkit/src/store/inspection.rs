//! The numbers and lists that an operator sees.

use std::time::Duration;

use bento_relay::RelayStore;
use bento_relay::inspect::{Inspect, StatusCounts, TenantCounts};
use bento_relay::publish::Destination;
use bento_relay::store::{Heartbeat, RelayId};
use chrono::{SubsecRound, TimeDelta, Utc};

use super::StoreHarness;
use super::bench::{
    Bench, LONG, beat, died, event, event_of_tenant, failed, follows, heartbeat, open, published,
    sharding,
};

/// Every event counts once: pending, held, dead, or not at all when it is published.
pub async fn events_are_counted_by_status<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    assert_eq!(counts(&bench).await, StatusCounts::default());
    let rows = bench
        .pending((1..=5).map(|number| event(&number.to_string(), number)))
        .await;
    let settled = vec![
        published(&rows[0]),
        failed(&rows[1], LONG),
        follows(&rows[2]),
        died(&rows[3], true),
    ];
    bench.settle(settled).await;
    let counts = counts(&bench).await;
    assert_eq!(
        counts,
        StatusCounts {
            pending: 1,
            held: 2,
            dead: 1
        }
    );
    assert_eq!(counts.backlog(), 3);
}

/// The same by tenant, those without one first.
pub async fn events_are_counted_by_tenant<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let entries = [
        event_of_tenant("b", 1),
        event_of_tenant("a", 2),
        event("x", 3),
        event_of_tenant("a", 4),
        event("y", 5),
    ];
    let rows = bench.pending(entries).await;
    bench
        .settle(vec![failed(&rows[1], LONG), died(&rows[4], true)])
        .await;
    let of = |tenant: Option<&str>, (pending, held, dead)| TenantCounts {
        tenant_id: tenant.map(str::to_owned),
        counts: StatusCounts {
            pending,
            held,
            dead,
        },
    };
    let expected = [
        of(None, (1, 0, 1)),
        of(Some("a"), (1, 1, 0)),
        of(Some("b"), (1, 0, 0)),
    ];
    assert_eq!(
        bench
            .store
            .counts_by_tenant()
            .await
            .expect("the store is there"),
        expected
    );
}

/// The age of the oldest pending event is told by the clock of the store.
pub async fn the_oldest_pending_event_has_an_age<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    assert_eq!(oldest(&bench).await, None);
    let mut old = event("a", 1);
    old.envelope.occurred_at = (Utc::now() - TimeDelta::hours(2)).trunc_subsecs(6);
    let rows = bench.pending([event("b", 2), old]).await;
    let age = oldest(&bench).await.expect("two are pending");
    let minutes = age.as_secs() / 60;
    assert!((115..=125).contains(&minutes), "{age:?}");
    bench.settle(vec![failed(&rows[1], LONG)]).await;
    assert!(
        oldest(&bench).await.expect("one is pending") < Duration::from_secs(300),
        "what is held is not pending"
    );
    let mut future = event("c", 3);
    future.envelope.occurred_at = (Utc::now() + TimeDelta::hours(2)).trunc_subsecs(6);
    bench.settle(vec![published(&rows[0])]).await;
    bench.append([future]).await;
    assert_eq!(
        oldest(&bench).await,
        Some(Duration::ZERO),
        "a clock that is ahead makes no negative age"
    );
}

/// Leases are shown with their owner, epoch and time left.
pub async fn leases_are_shown<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(2, 1)).await;
    let relay = RelayId::new();
    let leases = beat(&store, heartbeat(relay, LONG)).await.leases;
    let shown = store.leases().await.expect("the store is there");
    assert_eq!(
        shown.iter().map(|state| state.shard).collect::<Vec<_>>(),
        [0, 1]
    );
    for state in &shown {
        let lease = leases
            .iter()
            .find(|lease| lease.shard == state.shard)
            .expect("all shards are claimed");
        assert_eq!((state.owner, state.epoch), (Some(relay), lease.epoch));
        let left = state.expires_in.expect("it lasts");
        assert!(left <= LONG && left > LONG / 2, "{left:?}");
    }
    beat(&store, heartbeat(relay, harness.short())).await;
    harness.pass(harness.short() * 2).await;
    let expired = store.leases().await.expect("the store is there");
    assert!(
        expired
            .iter()
            .all(|state| state.owner == Some(relay) && state.expires_in.is_none()),
        "{expired:?}"
    );
    store.release(relay).await.expect("the store is there");
    let free = store.leases().await.expect("the store is there");
    assert!(
        free.iter()
            .all(|state| state.owner.is_none() && state.expires_in.is_none()),
        "{free:?}"
    );
}

/// The same by tenant and route, with the age of the oldest that is still to be delivered.
pub async fn the_backlog_is_told_by_tenant_and_route<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let mut old = event_of_tenant("a", 1);
    old.envelope.occurred_at = (Utc::now() - TimeDelta::minutes(150)).trunc_subsecs(6);
    let mut older = event_of_tenant("a", 2);
    older.envelope.occurred_at = (Utc::now() - TimeDelta::minutes(210)).trunc_subsecs(6);
    let entries = [old, older, event_of_tenant("a", 3), event("x", 4)];
    let rows = bench.pending(entries).await;
    bench
        .settle(vec![failed(&rows[0], LONG), died(&rows[1], true)])
        .await;
    let found = bench.store.backlog().await.expect("the store is there");
    let shown: Vec<_> = found
        .iter()
        .map(|one| {
            let StatusCounts {
                pending,
                held,
                dead,
            } = one.counts;
            let hours = one.oldest.map(|oldest| oldest.as_secs() / 3600);
            (
                one.tenant_id.as_deref(),
                one.route.as_deref(),
                (pending, held, dead),
                hours,
            )
        })
        .collect();
    let default = Some(Destination::DEFAULT);
    let a = Some("a");
    assert_eq!(
        shown,
        [
            (None, None, (1, 0, 0), Some(0)),
            (a, None, (1, 0, 0), Some(0)),
            (a, default, (0, 1, 1), Some(2))
        ]
    );
}

/// Relays that are alive are shown with the lanes they serve, and the coverage follows from them.
pub async fn relays_are_shown_with_their_lanes<H: StoreHarness>(harness: &H) {
    let store = harness.store(sharding(2, 3)).await;
    assert_eq!(
        store.sharding().await.expect("the store is there"),
        None,
        "it has not been used"
    );
    let store = open(harness, sharding(2, 3)).await;
    assert_eq!(
        store.sharding().await.expect("the store is there"),
        Some(sharding(2, 3))
    );
    let (some, dying) = (RelayId::new(), RelayId::new());
    beat(
        &store,
        Heartbeat {
            lanes: Some(vec![0, 2]),
            ..heartbeat(some, LONG)
        },
    )
    .await;
    beat(&store, heartbeat(dying, LONG)).await;
    let coverage = async || {
        store
            .coverage()
            .await
            .expect("the store is there")
            .expect("it is divided")
    };
    assert!(coverage().await.is_complete());
    let alive = store.relays().await.expect("the store is there");
    let shown: Vec<_> = alive
        .iter()
        .map(|relay| (relay.relay, relay.lanes.clone()))
        .collect();
    assert_eq!(
        shown,
        [(some, Some(vec![0, 2])), (dying, None)],
        "relay ids grow with time"
    );
    assert!(
        alive[0].expires_in <= LONG && alive[0].expires_in > LONG / 2,
        "{alive:?}"
    );
    beat(&store, heartbeat(dying, harness.short())).await;
    harness.pass(harness.short() * 2).await;
    let alive = store.relays().await.expect("the store is there");
    assert_eq!(
        alive.iter().map(|relay| relay.relay).collect::<Vec<_>>(),
        [some]
    );
    assert_eq!(coverage().await.unserved, [1]);
}

async fn counts<H: StoreHarness>(bench: &Bench<'_, H>) -> StatusCounts {
    bench.store.counts().await.expect("the store is there")
}

async fn oldest<H: StoreHarness>(bench: &Bench<'_, H>) -> Option<Duration> {
    bench
        .store
        .oldest_pending()
        .await
        .expect("the store is there")
}
