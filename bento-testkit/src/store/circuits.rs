//! Destinations that are away: all relays together try them as often as one would.

use std::sync::Arc;
use std::time::Duration;

use bento_core::inspect::Inspect;
use bento_core::relay::RelayStore;
use bento_core::relay::store::{Opening, RelayId, StoreError, TrialClaim};
use tokio::task::JoinSet;

use super::StoreHarness;
use super::bench::{LONG, division, open};

const ZERO: Duration = Duration::ZERO;

/// Two relays and a destination that is away.
struct Cluster<S> {
    store: S,
    one: RelayId,
    other: RelayId,
}

impl<S: RelayStore> Cluster<S> {
    async fn new(harness: &impl StoreHarness<Store = S>) -> Self {
        Self { store: open(harness, division(1, 1)).await, one: RelayId::new(), other: RelayId::new() }
    }

    async fn claim(&self, relay: RelayId, hold: Duration) -> TrialClaim {
        self.store.claim_trial(relay, "left", hold).await.expect("the store is there")
    }

    async fn fail(&self, relay: RelayId, trials: u32, pause: Duration) {
        self.open(Opening { relay, destination: Arc::from("left"), trials, pause, stale: LONG }).await;
    }

    async fn open(&self, opening: Opening) {
        self.store.open_circuit(opening).await.expect("the store is there");
    }

    async fn close(&self, destination: &str) {
        self.store.close_circuit(destination).await.expect("the store is there");
    }
}

/// How long a relay has to wait that was refused.
fn wait(claim: TrialClaim) -> Duration {
    match claim {
        TrialClaim::Later(wait) => wait,
        other => panic!("it should wait: {other:?}"),
    }
}

const fn granted(trials: u32) -> TrialClaim {
    TrialClaim::Granted { trials }
}

/// While one tries, the others are refused, and so is it.
pub async fn a_trial_is_one_relays_at_a_time<H: StoreHarness>(harness: &H) {
    let cluster = Cluster::new(harness).await;
    cluster.fail(cluster.one, 0, ZERO).await;
    harness.pass(harness.short()).await;
    assert_eq!(cluster.claim(cluster.other, LONG).await, granted(1));
    for relay in [cluster.one, cluster.other] {
        let wait = wait(cluster.claim(relay, LONG).await);
        assert!(wait <= LONG && wait > LONG / 2, "{wait:?}");
    }
}

/// The pause runs by the clock of the store, from the first opening.
pub async fn nobody_tries_before_the_pause_is_over<H: StoreHarness>(harness: &H) {
    let cluster = Cluster::new(harness).await;
    cluster.fail(cluster.one, 0, harness.short()).await;
    assert!(wait(cluster.claim(cluster.one, LONG).await) <= harness.short());
    harness.pass(harness.short()).await;
    assert_eq!(cluster.claim(cluster.one, LONG).await, granted(1));
}

/// The claim held longer than the pause that follows.
pub async fn a_failed_trial_says_when_the_next_one_is<H: StoreHarness>(harness: &H) {
    let cluster = Cluster::new(harness).await;
    cluster.fail(cluster.one, 0, ZERO).await;
    for trials in 1..=3 {
        harness.pass(harness.short()).await;
        assert_eq!(cluster.claim(cluster.one, LONG).await, granted(trials));
        cluster.fail(cluster.one, trials, harness.short()).await;
        assert!(wait(cluster.claim(cluster.other, LONG).await) <= harness.short());
    }
    cluster.fail(cluster.one, 3, ZERO).await;
    assert!(wait(cluster.claim(cluster.other, LONG).await) > ZERO, "its trial is over, the pause is not its any more");
}

/// A relay that dies while it tries keeps the others waiting for no longer than it claimed.
pub async fn a_trial_nobody_reports_on_is_made_again<H: StoreHarness>(harness: &H) {
    let cluster = Cluster::new(harness).await;
    cluster.fail(cluster.one, 0, ZERO).await;
    harness.pass(harness.short()).await;
    assert_eq!(cluster.claim(cluster.one, harness.short()).await, granted(1));
    harness.pass(harness.short()).await;
    assert_eq!(cluster.claim(cluster.other, LONG).await, granted(2));
}

/// A relay that was too slow does not end the trial of another one.
pub async fn what_is_said_of_an_older_trial_changes_nothing<H: StoreHarness>(harness: &H) {
    let cluster = Cluster::new(harness).await;
    cluster.fail(cluster.one, 0, ZERO).await;
    harness.pass(harness.short()).await;
    assert_eq!(cluster.claim(cluster.one, harness.short()).await, granted(1));
    harness.pass(harness.short()).await;
    assert_eq!(cluster.claim(cluster.other, LONG).await, granted(2));
    cluster.fail(cluster.one, 1, ZERO).await;
    assert!(wait(cluster.claim(cluster.one, LONG).await) > LONG / 2);
    cluster.fail(cluster.other, 2, ZERO).await;
    harness.pass(harness.short()).await;
    assert_eq!(cluster.claim(cluster.one, LONG).await, granted(3));
}

/// A broker that asks for time has it, also from relays that asked before; a relay that finds the destination away later shortens
/// nothing.
pub async fn a_longer_pause_counts_whoever_asks_for_it<H: StoreHarness>(harness: &H) {
    let cluster = Cluster::new(harness).await;
    cluster.fail(cluster.one, 0, ZERO).await;
    harness.pass(harness.short()).await;
    assert_eq!(cluster.claim(cluster.one, harness.short()).await, granted(1));
    cluster.fail(cluster.other, 0, LONG).await;
    cluster.fail(cluster.one, 1, ZERO).await;
    cluster.fail(cluster.other, 0, ZERO).await;
    assert!(wait(cluster.claim(cluster.one, LONG).await) > LONG / 2);
    cluster.fail(cluster.one, 1, Duration::MAX).await;
    assert!(wait(cluster.claim(cluster.one, LONG).await) > LONG, "a pause without end fits in");
}

/// A trial that went well lets every relay try, without a claim; closing what is closed is no error, and no other circuit closes with it.
pub async fn a_closed_circuit_is_everybodys<H: StoreHarness>(harness: &H) {
    let cluster = Cluster::new(harness).await;
    cluster.close("left").await;
    assert_eq!(cluster.claim(cluster.one, LONG).await, TrialClaim::Closed);
    cluster.fail(cluster.one, 4, LONG).await;
    cluster.close("right").await;
    assert!(wait(cluster.claim(cluster.one, LONG).await) > LONG / 2);
    cluster.close("left").await;
    for relay in [cluster.one, cluster.other] {
        assert_eq!(cluster.claim(relay, LONG).await, TrialClaim::Closed);
    }
    cluster.fail(cluster.one, 4, ZERO).await;
    harness.pass(harness.short()).await;
    assert_eq!(cluster.claim(cluster.one, LONG).await, granted(5), "a relay that still fails goes on counting");
}

/// What nobody asked about for long says nothing of this outage.
pub async fn a_circuit_of_an_earlier_outage_begins_anew<H: StoreHarness>(harness: &H) {
    let cluster = Cluster::new(harness).await;
    cluster.fail(cluster.one, 7, ZERO).await;
    harness.pass(harness.short() * 2).await;
    let (relay, destination, pause) = (cluster.other, Arc::from("left"), ZERO);
    cluster.open(Opening { relay, destination, trials: 0, pause, stale: harness.short() }).await;
    harness.pass(harness.short()).await;
    assert_eq!(cluster.claim(cluster.one, ZERO).await, granted(1));
    cluster.fail(cluster.other, 0, ZERO).await;
    harness.pass(harness.short()).await;
    assert_eq!(cluster.claim(cluster.one, LONG).await, granted(2), "of this outage it says something");
}

/// However many ask at the same moment, one is granted.
pub async fn no_trial_goes_to_two_relays_that_ask_at_once<H: StoreHarness>(harness: &H) {
    let cluster = Cluster::new(harness).await;
    cluster.fail(cluster.one, 0, ZERO).await;
    let store = Arc::new(cluster.store);
    for round in 1..=3 {
        harness.pass(harness.short()).await;
        let mut calls = JoinSet::new();
        for _ in 0..6 {
            let (store, hold) = (Arc::clone(&store), harness.short());
            // A back end may refuse one of two at once as unavailable; the relay then asks again.
            calls.spawn(async move {
                loop {
                    match store.claim_trial(RelayId::new(), "left", hold).await {
                        Ok(claim) => return claim,
                        Err(StoreError::Unavailable { .. }) => tokio::task::yield_now().await,
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        let claims = calls.join_all().await;
        assert_eq!(claims.iter().filter(|claim| **claim == granted(round)).count(), 1, "{claims:?}");
        assert_eq!(claims.iter().filter(|claim| matches!(claim, TrialClaim::Later(_))).count(), 5, "{claims:?}");
    }
}

/// An operator sees what is away, how often it was tried, and when it will be again.
pub async fn open_circuits_are_shown<H: StoreHarness>(harness: &H) {
    let cluster = Cluster::new(harness).await;
    let circuits = async || cluster.store.circuits().await.expect("the store is there");
    assert_eq!(circuits().await, []);
    cluster.fail(cluster.one, 3, LONG).await;
    let (relay, destination) = (cluster.other, Arc::from("default"));
    cluster.open(Opening { relay, destination, trials: 0, pause: ZERO, stale: LONG }).await;
    harness.pass(harness.short()).await;
    let shown = circuits().await;
    let names: Vec<_> = shown.iter().map(|circuit| (&*circuit.destination, circuit.trials)).collect();
    assert_eq!((names, shown[0].next_trial_in), (vec![("default", 0), ("left", 3)], None));
    assert!(shown[1].next_trial_in.is_some_and(|wait| wait <= LONG && wait > LONG / 2), "{shown:?}");
    cluster.close("left").await;
    cluster.close("default").await;
    assert_eq!(circuits().await, []);
}
