//! Recorded handlers that an operator pauses, resumes, retires and lists.

use std::sync::Arc;
use std::time::Duration;

use bento_relay::RelayStore;
use bento_relay::handler_control::{HandlerControl, HandlerState};
use bento_relay::publish::{Destination, HandlerRoute};
use bento_relay::store::{
    Advance, Heartbeat, HeldRow, Leftovers, OutboxRow, Outcome, RelayId, ServedHandler, Settlement,
    StoreError,
};

use super::StoreHarness;
use super::bench::{
    Bench, LONG, beat, call, dead_letter, default_route, event, failure, heartbeat, held_numbers,
    open, sharding, shards_of, surplus,
};

/// Held rows of a paused handler are neither returned nor foretold, those of other routes are.
/// After the handler is resumed, all are returned, in their order and with their attempts.
pub async fn held_rows_of_a_paused_handler_wait_until_it_is_resumed<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    record(&bench.store, &["mail", "stock"]).await;
    let rows = bench
        .pending([event("a", 1), event("a", 2), event("b", 3)])
        .await;
    let settled = vec![
        tried(&rows[0], "mail"),
        for_route(&rows[1], "mail", Outcome::Behind),
        tried(&rows[0], "stock"),
        tried(&rows[2], Destination::DEFAULT),
    ];
    assert_eq!(bench.settle(settled).await.held.len(), 4);
    pause(&bench.store, "mail").await;
    let paused = bench.next().await;
    assert_eq!(routes(&paused.held), [Destination::DEFAULT, "stock"]);
    assert_eq!(
        paused.streams.map(|streams| streams.len()),
        Some(3),
        "the streams are held all the same"
    );
    resume(&bench.store, "mail").await;
    let resumed = bench.next().await.held;
    let of_mail = resumed.into_iter().filter(|held| &*held.route == "mail");
    let of_mail: Vec<_> = of_mail.collect();
    assert_eq!(held_numbers(&of_mail), [1, 2]);
    assert_eq!((of_mail[0].attempts, of_mail[1].attempts), (1, 0));
}

/// A row that waits longer is not foretold while its handler is paused, and keeps its wait.
pub async fn a_wait_goes_on_while_its_handler_is_paused<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    record(&bench.store, &["mail"]).await;
    let rows = bench.pending([event("a", 1)]).await;
    let later = Outcome::Retry(failure(1, harness.short()));
    bench.settle(vec![for_route(&rows[0], "mail", later)]).await;
    pause(&bench.store, "mail").await;
    assert_eq!(bench.next().await.next_due, None);
    harness.pass(harness.short()).await;
    assert_eq!(bench.next().await.held, []);
    resume(&bench.store, "mail").await;
    assert_eq!(held_numbers(&bench.next().await.held), [1]);
}

/// A relay learns of it in every shard, also in one that it knew to be quiet. What changes nothing
/// is not told.
pub async fn pausing_a_handler_changes_the_revision_of_every_shard<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(3, 1)).await;
    record(&store, &["mail"]).await;
    let leases = beat(&store, heartbeat(RelayId::new(), LONG)).await.leases;
    let revisions = async || {
        let mut revisions = Vec::new();
        for lease in &leases {
            revisions.push(store.advance(call(*lease)).await.expect("held").revision);
        }
        revisions
    };
    let differ = |one: &[i64], other: &[i64]| one.iter().zip(other).all(|(a, b)| a != b);
    let before = revisions().await;
    pause(&store, "mail").await;
    let paused = revisions().await;
    assert!(differ(&before, &paused), "{before:?} {paused:?}");
    let again = store.pause_handler("mail", "again", None).await;
    assert!(!again.expect("the store is there"));
    assert_eq!(revisions().await, paused, "nothing changed");
    resume(&store, "mail").await;
    let resumed = revisions().await;
    assert!(differ(&paused, &resumed), "{paused:?} {resumed:?}");
    let again = store.resume_handler("mail").await;
    assert!(!again.expect("the store is there"));
    assert_eq!(revisions().await, resumed, "nothing changed");
}

/// It is told with the streams, and a process that records the handler again does not resume it.
pub async fn a_paused_handler_is_told_and_stays_paused<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    record(&bench.store, &["mail", "stock"]).await;
    let told = async || {
        let handlers = bench.next().await.handlers;
        let told = handlers.iter().map(|handler| handler.is_paused);
        told.collect::<Vec<_>>()
    };
    assert_eq!(told().await, [false, false]);
    pause(&bench.store, "stock").await;
    assert_eq!(told().await, [false, true]);
    record(&bench.store, &["mail", "stock"]).await;
    let route = HandlerRoute::new("stock", ["other"]);
    let recorded = bench.store.record_handlers(&[route]).await;
    recorded.expect("the store is there");
    assert_eq!(told().await, [false, true]);
    retire(&bench.store, "stock").await;
    record(&bench.store, &["stock"]).await;
    assert_eq!(told().await, [false, false], "it is another handler");
}

/// The poll finds no work in what waits for a paused handler, and finds it again.
pub async fn a_poll_passes_over_paused_handlers<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    record(&bench.store, &["mail"]).await;
    let rows = bench.pending([event("a", 1)]).await;
    bench.settle(vec![tried(&rows[0], "mail")]).await;
    let poll = async || {
        let polled = bench.store.poll(&[0], &[]).await;
        polled.expect("the store is there").len()
    };
    assert_eq!(poll().await, 1);
    pause(&bench.store, "mail").await;
    assert_eq!(poll().await, 0);
    assert_eq!((bench.next().await.next_due, poll().await), (None, 0));
    resume(&bench.store, "mail").await;
    assert_eq!(poll().await, 1);
}

/// A pause moves no shard: the relay that serves the handler stays complete without serving more.
pub async fn a_pause_changes_no_share<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(4, 1)).await;
    record(&store, &["mail"]).await;
    let (with, without) = (RelayId::new(), RelayId::new());
    let of_mail = || serving(with, LONG, &[("mail", "*")]);
    let shards = shards_of(&beat(&store, of_mail()).await.leases);
    assert_eq!(shards, [0, 1, 2, 3]);
    pause(&store, "mail").await;
    assert_eq!(
        beat(&store, heartbeat(without, LONG)).await.leases,
        [],
        "it is still incomplete"
    );
    assert_eq!(surplus(&beat(&store, of_mail()).await), 0);
}

/// Every recorded handler is listed in the order of the names, with the first reason of its pause,
/// what waits for it, and the living relays that serve all of it.
pub async fn handlers_are_listed_with_what_waits_and_who_serves<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    assert_eq!(listed(&bench.store).await, []);
    let wide = HandlerRoute::new("stock", ["b", "a"]).ordered(false);
    let recorded = bench.store.record_handlers(&[wide]).await;
    recorded.expect("the store is there");
    record(&bench.store, &["mail"]).await;
    let rows = bench
        .pending([event("1", 1), event("2", 2), event("3", 3)])
        .await;
    let settled = vec![
        for_route(&rows[0], "mail", Outcome::Behind),
        for_route(&rows[1], "mail", Outcome::Dead(dead_letter(true))),
        for_route(&rows[2], "gone", Outcome::Behind),
    ];
    bench.settle(settled).await;
    let (one, other, dead) = (RelayId::new(), RelayId::new(), RelayId::new());
    let (of_mail, of_stock) = (("mail", "*"), ("stock", "a"));
    beat(&bench.store, serving(one, LONG, &[of_mail, of_stock])).await;
    beat(&bench.store, serving(other, LONG, &[of_mail])).await;
    beat(&bench.store, serving(dead, harness.short(), &[of_mail])).await;
    harness.pass(harness.short()).await;
    for (reason, actor) in [("two 'mails' each", Some("alice")), ("later", None)] {
        let paused = bench.store.pause_handler("mail", reason, actor).await;
        paused.expect("the store is there");
    }
    let handlers = listed(&bench.store).await;
    let [mail, stock] = &*handlers else {
        panic!("{handlers:?}");
    };
    assert_eq!((&*mail.name, &*stock.name), ("mail", "stock"));
    let pause = mail.pause.as_ref().expect("it is paused");
    assert_eq!(
        (&*pause.reason, pause.actor.as_deref()),
        ("two 'mails' each", Some("alice"))
    );
    assert_eq!(stock.pause, None);
    let expected = [Arc::from("a"), Arc::from("b")];
    assert_eq!((&*stock.takes, stock.ordered), (&expected[..], false));
    assert_eq!(mail.waiting, Leftovers { held: 1, dead: 1 });
    assert_eq!(stock.waiting, Leftovers::default());
    let mut served_by = vec![one, other];
    served_by.sort();
    assert_eq!(mail.served_by, served_by);
    assert_eq!(stock.served_by, [], "it takes more than they serve");
    let now = beat(&bench.store, heartbeat(one, LONG)).await.now;
    let now = now.expect("it has a clock");
    let minute = chrono::Duration::seconds(60);
    assert!((now - pause.paused_at).abs() < minute, "{pause:?}");
    assert!((now - stock.recorded_at).abs() < minute, "{stock:?}");
}

/// A name that is not recorded is an error that names it, and texts that not every back end stores
/// are refused.
pub async fn a_pause_needs_a_recorded_handler_and_a_text<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(1, 1)).await;
    record(&store, &["mail"]).await;
    for name in ["Mail", "mail ", "stock"] {
        let paused = store.pause_handler(name, "audit", None).await;
        let resumed = store.resume_handler(name).await;
        for refused in [paused, resumed] {
            let named =
                matches!(&refused, Err(StoreError::UnknownHandler { name: is }) if is == name);
            assert!(named, "{refused:?}");
        }
    }
    let long = "ä".repeat(4_001);
    for (reason, actor) in [
        ("no\0such", None),
        (&*long, None),
        ("audit", Some("no\0such")),
        ("audit", Some(&*long)),
    ] {
        let refused = store.pause_handler("mail", reason, actor).await;
        assert!(
            matches!(refused, Err(StoreError::Unstorable(_))),
            "{refused:?}"
        );
    }
    assert_eq!(listed(&store).await[0].pause, None);
    let (reason, actor) = ("🍱".repeat(4_000), "🍱".repeat(255));
    let paused = store.pause_handler("mail", &reason, Some(&actor)).await;
    assert!(paused.expect("the store is there"));
    let pause = listed(&store).await.remove(0).pause.expect("it is paused");
    assert_eq!((pause.reason, pause.actor), (reason, Some(actor)));
}

/// Retiring a handler that is not recorded changes nothing.
pub async fn a_handler_that_is_not_recorded_is_not_retired<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let revision = bench.next().await.revision;
    let retired = bench.store.retire_handler("mail").await;
    assert_eq!(retired.expect("the store is there"), None);
    let known = Advance {
        revision: Some(revision),
        ..call(bench.lease)
    };
    assert_eq!(bench.advance(known).await.streams, None);
}

fn for_route(row: &OutboxRow, route: &str, outcome: Outcome) -> Settlement {
    let route = if route == Destination::DEFAULT {
        default_route()
    } else {
        Arc::from(route)
    };
    Settlement::pending(row.position, route, outcome)
}

/// A row that was tried once, and is due.
fn tried(row: &OutboxRow, route: &str) -> Settlement {
    for_route(row, route, Outcome::Retry(failure(1, Duration::ZERO)))
}

fn routes(held: &[HeldRow]) -> Vec<&str> {
    let mut routes: Vec<_> = held.iter().map(|held| &*held.route).collect();
    routes.sort_unstable();
    routes
}

fn serving(relay: RelayId, ttl: Duration, handlers: &[(&str, &str)]) -> Heartbeat {
    let served = handlers.iter().map(|(name, takes)| ServedHandler {
        name: Arc::from(*name),
        takes: vec![Arc::from(*takes)],
    });
    Heartbeat {
        handlers: served.collect(),
        ..heartbeat(relay, ttl)
    }
}

async fn record(store: &impl RelayStore, names: &[&str]) {
    let route = |name: &&str| HandlerRoute::new(*name, ["*"]);
    let routes: Vec<_> = names.iter().map(route).collect();
    let recorded = store.record_handlers(&routes).await;
    recorded.expect("the store is there");
}

async fn listed(store: &impl HandlerControl) -> Vec<HandlerState> {
    store.handlers().await.expect("the store is there")
}

async fn pause(store: &impl HandlerControl, name: &str) {
    let paused = store.pause_handler(name, "audit", Some("alice")).await;
    assert!(paused.expect("the store is there"));
}

async fn resume(store: &impl HandlerControl, name: &str) {
    let resumed = store.resume_handler(name).await;
    assert!(resumed.expect("the store is there"));
}

async fn retire(store: &impl HandlerControl, name: &str) {
    let retired = store.retire_handler(name).await;
    assert!(retired.expect("the store is there").is_some());
}
