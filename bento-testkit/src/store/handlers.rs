//! Recorded handlers: where each begins, when relays learn of it, and who gets the shards.

use std::sync::Arc;
use std::time::Duration;

use bento_relay::RelayStore;
use bento_relay::handler_control::HandlerControl;
use bento_relay::inspect::Inspect;
use bento_relay::publish::{HandlerRoute, StartFrom};
use bento_relay::store::{
    Advance, Heartbeat, Leftovers, NewDeadLetter, Outcome, RecordedHandler, RelayId, ServedHandler,
    Settlement, StoreError, Unroutable,
};

use super::StoreHarness;
use super::bench::{
    Bench, LONG, beat, call, dead_letter, event, heartbeat, open, sharding, shards_of, surplus,
};

/// A handler that is known keeps its beginning; its order and event types are those of the process
/// that started last.
pub async fn a_handler_is_recorded_once<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    record(&bench.store, &[takes("mail", &["b", "a.*"])]).await;
    bench.append([event("1", 1)]).await;
    record(&bench.store, &[takes("mail", &["b", "a.*"])]).await;
    let recorded = recorded(&bench).await;
    assert_eq!(recorded.len(), 1);
    let expected = RecordedHandler {
        name: "mail".into(),
        takes: vec!["a.*".into(), "b".into()],
        ordered: true,
        starts_after: 0,
        starts_at: None,
        is_paused: false,
    };
    assert_eq!(recorded[0], expected);
    record(&bench.store, &[takes("mail", &["c"]).ordered(false)]).await;
    let expected = RecordedHandler {
        takes: vec!["c".into()],
        ordered: false,
        ..expected
    };
    assert_eq!(self::recorded(&bench).await, [expected]);
}

/// A relay learns of it in every shard, also in one that it knew to be quiet. Recording what is
/// there already changes nothing.
pub async fn a_changed_record_changes_the_revision_of_every_shard<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(3, 1)).await;
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
    record(&store, &[takes("mail", &["a"])]).await;
    let one = revisions().await;
    assert!(differ(&before, &one), "{before:?} {one:?}");
    record(&store, &[takes("mail", &["a"])]).await;
    assert_eq!(revisions().await, one, "nothing changed");
    record(&store, &[takes("mail", &["a"]), takes("stock", &["a"])]).await;
    let two = revisions().await;
    assert!(differ(&one, &two), "{one:?} {two:?}");
    record(&store, &[takes("mail", &["a", "b"])]).await;
    let wider = revisions().await;
    assert!(differ(&two, &wider), "{two:?} {wider:?}");
    retire(&store, "mail").await;
    let retired = revisions().await;
    assert!(differ(&wider, &retired), "{wider:?} {retired:?}");
}

/// They are told, in the order of their names, when the known revision is not the current one.
pub async fn recorded_handlers_are_told_with_the_streams<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let revision = Some(bench.next().await.revision);
    record(&bench.store, &[takes("b", &["x"]), takes("a", &["x"])]).await;
    let known = Advance {
        revision,
        ..call(bench.lease)
    };
    let told = bench.advance(known).await;
    assert_eq!(
        (names(&told.handlers), told.streams),
        (vec!["a", "b"], Some(vec![]))
    );
    let revision = Some(told.revision);
    let known = Advance {
        revision,
        ..call(bench.lease)
    };
    let told = bench.advance(known).await;
    assert_eq!((told.handlers, told.streams), (vec![], None));
    let holdings = beat(&bench.store, heartbeat(bench.lease.owner, LONG)).await;
    assert_eq!(holdings.handlers, ["a".into(), "b".into()]);
}

/// Rows that are there when it is recorded, pending or without a route, lie before its beginning;
/// those that come later do not.
pub async fn a_new_handler_starts_after_the_last_position<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending([event("1", 1), event("2", 2)]).await;
    record(&bench.store, &[takes("pending", &["*"])]).await;
    // The last row waits for a route that no relay has yet.
    let unroutable = Outcome::Unroutable(Unroutable {
        retry_after: Duration::ZERO,
        error: "no rule".to_owned(),
    });
    let queue = Arc::from(NewDeadLetter::UNROUTABLE);
    let waits = Settlement::pending(rows[1].position, queue, unroutable);
    let settled = vec![Settlement::published(rows[0].position), waits];
    assert_eq!(bench.settle(settled).await.pending.len(), 0);
    record(&bench.store, &[takes("queued", &["*"])]).await;
    bench.append([event("3", 3)]).await;
    let next = bench.next().await.pending.remove(0);
    for handler in recorded(&bench).await {
        let begins = rows[1].position..next.position;
        assert!(begins.contains(&handler.starts_after), "{handler:?}");
    }
}

/// An event whose transaction was open when the handler was recorded, and that has the highest
/// position, is one of the handler's.
pub async fn an_event_that_commits_later_is_not_missed<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let Some(staged) = harness.stage(vec![event("1", 1)]).await else {
        return;
    };
    record(&bench.store, &[takes("mail", &["*"])]).await;
    harness.commit(staged).await;
    let row = bench.next().await.pending.remove(0);
    let handler = recorded(&bench).await.remove(0);
    assert!(handler.starts_after < row.position, "{handler:?}");
}

/// A handler from the beginning takes every event that the outbox holds.
pub async fn a_handler_may_start_with_the_beginning<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending([event("1", 1)]).await;
    let route = takes("mail", &["*"]).from(StartFrom::Beginning);
    record(&bench.store, &[route]).await;
    let handler = recorded(&bench).await.remove(0);
    assert!(handler.starts_after < rows[0].position, "{handler:?}");
}

/// A handler from a time begins with the whole outbox too, and the time is recorded once, to the
/// microsecond.
pub async fn a_handler_may_start_with_a_time<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending([event("1", 1)]).await;
    let at = |text: &str| text.parse().expect("it is a time");
    let from = |text: &str| takes("mail", &["*"]).from(StartFrom::At(at(text)));
    record(&bench.store, &[from("2026-11-01T10:20:30.123456789Z")]).await;
    record(&bench.store, &[from("2020-01-01T00:00:00Z")]).await;
    let handler = recorded(&bench).await.remove(0);
    let first = at("2026-11-01T10:20:30.123456Z");
    assert_eq!(handler.starts_at, Some(first));
    let position = rows[0].position;
    let tick = chrono::Duration::microseconds(1);
    assert!(handler.has_started(position, first), "{handler:?}");
    assert!(!handler.has_started(position, first - tick), "{handler:?}");
}

/// An older release that starts takes no event type away from a relay that is alive.
pub async fn a_record_keeps_what_a_living_relay_serves<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    record(&bench.store, &[takes("mail", &["a", "b"])]).await;
    let relay = RelayId::new();
    beat(&bench.store, serving(relay, &[("mail", &["a", "b"])])).await;
    record(&bench.store, &[takes("mail", &["a", "c"])]).await;
    assert_eq!(taken(&bench).await, ["a", "b", "c"]);
    bench
        .store
        .release(relay)
        .await
        .expect("the store is there");
    record(&bench.store, &[takes("mail", &["a"])]).await;
    assert_eq!(taken(&bench).await, ["a"], "no relay serves it any more");
}

/// A relay whose handler was recorded with fewer event types adds them, also after it started; it
/// adds no handler.
pub async fn a_heartbeat_adds_what_its_relay_serves<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    record(&bench.store, &[takes("mail", &["a"])]).await;
    let revision = bench.next().await.revision;
    let relay = serving(bench.lease.owner, &[("mail", &["b"]), ("stock", &["a"])]);
    beat(&bench.store, relay.clone()).await;
    assert_eq!(taken(&bench).await, ["a", "b"]);
    let widened = bench.next().await.revision;
    assert_ne!(revision, widened);
    beat(&bench.store, relay).await;
    let told = bench.next().await;
    assert_eq!(
        (told.revision, names(&told.handlers)),
        (widened, vec!["mail"])
    );
}

/// Its record is gone, and what waits for it is counted.
pub async fn a_retired_handler_is_told_no_more<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    record(
        &bench.store,
        &[takes("mail", &["*"]), takes("stock", &["*"])],
    )
    .await;
    let events = [event("1", 1), event("2", 2), event("3", 3)];
    let rows = bench.pending(events).await;
    let for_mail =
        |row: usize, outcome| Settlement::pending(rows[row].position, Arc::from("mail"), outcome);
    let settled = vec![
        for_mail(0, Outcome::Behind),
        for_mail(1, Outcome::Behind),
        for_mail(2, Outcome::Dead(dead_letter(true))),
    ];
    bench.settle(settled).await;
    let retired = retire(&bench.store, "mail").await;
    assert_eq!(retired, Some(Leftovers { held: 2, dead: 1 }));
    assert_eq!(retire(&bench.store, "mail").await, None);
    let told = bench.next().await;
    assert_eq!((names(&told.handlers), told.held.len()), (vec!["stock"], 2));
    record(&bench.store, &[takes("mail", &["*"])]).await;
    assert_eq!(names(&bench.next().await.handlers), ["mail", "stock"]);
}

/// Held rows and dead letters are counted for every route, whether it is known or not.
pub async fn what_is_left_is_counted_by_route<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([event("1", 1), event("2", 2), event("3", 3)])
        .await;
    let for_route = |row: usize, route: &str, outcome| {
        Settlement::pending(rows[row].position, Arc::from(route), outcome)
    };
    let settled = vec![
        for_route(0, "mail", Outcome::Behind),
        for_route(1, "mail", Outcome::Dead(dead_letter(true))),
        for_route(2, "Mail", Outcome::Behind),
        for_route(1, "stock", Outcome::Dead(dead_letter(false))),
    ];
    bench.settle(settled).await;
    let left = bench.store.leftovers().await.expect("the store is there");
    let count = |held, dead| Leftovers { held, dead };
    let expected = [
        (Arc::from("Mail"), count(1, 0)),
        (Arc::from("mail"), count(1, 1)),
        (Arc::from("stock"), count(0, 1)),
    ];
    assert_eq!(left, expected);
}

/// A relay that serves less than what is recorded gives up its shards when one appears that serves
/// everything, and gets none while it lives.
pub async fn relays_that_serve_every_handler_come_first<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(4, 1)).await;
    let (old, new) = (RelayId::new(), RelayId::new());
    record(&store, &[takes("mail", &["a"])]).await;
    let of_old = || serving(old, &[("mail", &["a"])]);
    let of_new = || serving(new, &[("mail", &["*"]), ("stock", &["a"])]);
    assert_eq!(
        shards_of(&beat(&store, of_old()).await.leases),
        [0, 1, 2, 3]
    );
    record(&store, &[takes("mail", &["a"]), takes("stock", &["a"])]).await;
    assert_eq!(surplus(&beat(&store, of_old()).await), 0, "it is alone");
    assert_eq!(beat(&store, of_new()).await.leases, []);
    assert_eq!(surplus(&beat(&store, of_old()).await), 4);
    let given = Heartbeat {
        idle: vec![0, 1, 2, 3],
        ..of_old()
    };
    assert_eq!(beat(&store, given).await.leases, []);
    assert_eq!(
        shards_of(&beat(&store, of_new()).await.leases),
        [0, 1, 2, 3]
    );
    store.release(new).await.expect("the store is there");
    assert_eq!(
        shards_of(&beat(&store, of_old()).await.leases),
        [0, 1, 2, 3]
    );
}

/// A relay that is alive is shown with the handlers that it serves, in the order of their names.
pub async fn living_relays_are_shown_with_their_handlers<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(1, 1)).await;
    let (with, without) = (RelayId::new(), RelayId::new());
    let handlers: [(&str, &[&str]); 2] = [("stock", &["a"]), ("mail", &["a", "b"])];
    beat(&store, serving(with, &handlers)).await;
    beat(&store, heartbeat(without, LONG)).await;
    let relays = store.relays().await.expect("the store is there");
    let of = |relay| relays.iter().find(|state| state.relay == relay);
    let handlers_of = |relay| of(relay).map(|state| state.handlers.as_slice());
    let expected = [Arc::from("mail"), Arc::from("stock")];
    assert_eq!(handlers_of(with), Some(&expected[..]));
    assert_eq!(handlers_of(without), Some(&[][..]));
}

/// Relays that all serve less than everything share as relays do.
pub async fn without_such_a_relay_any_relay_goes_on<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(4, 1)).await;
    record(
        &store,
        &[takes("mail", &["a", "b"]), takes("stock", &["a"])],
    )
    .await;
    let (one, other) = (RelayId::new(), RelayId::new());
    let narrow = serving(one, &[("mail", &["a"]), ("stock", &["a"])]);
    beat(&store, heartbeat(other, LONG)).await;
    store.release(other).await.expect("the store is there");
    assert_eq!(
        shards_of(&beat(&store, narrow.clone()).await.leases),
        [0, 1, 2, 3]
    );
    beat(&store, heartbeat(other, LONG)).await;
    assert_eq!(surplus(&beat(&store, narrow).await), 2);
}

/// `mail`, `Mail` and `mail ` are three handlers.
pub async fn names_that_differ_by_a_space_or_the_case_are_handlers_of_their_own<H: StoreHarness>(
    harness: &H,
) {
    let bench = Bench::new(harness).await;
    let routes = ["mail", "Mail", "mail "].map(|name| takes(name, &["*"]));
    record(&bench.store, &routes).await;
    assert_eq!(
        names(&bench.next().await.handlers),
        ["Mail", "mail", "mail "]
    );
    retire(&bench.store, "mail").await;
    assert_eq!(names(&bench.next().await.handlers), ["Mail", "mail "]);
}

/// It would finish events that have to be published. One that runs already is refused too.
pub async fn a_relay_with_handlers_alone_takes_no_published_outbox<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(1, 1)).await;
    let alone = || Heartbeat {
        publishes: false,
        ..heartbeat(RelayId::new(), LONG)
    };
    beat(&store, alone()).await;
    assert!(!store.is_published().await.expect("the store is there"));
    beat(&store, heartbeat(RelayId::new(), LONG)).await;
    assert!(store.is_published().await.expect("the store is there"));
    let refused = store.heartbeat(alone()).await.expect_err("it is published");
    assert!(
        matches!(refused, StoreError::MissingPublishers),
        "{refused:?}"
    );
    let forgotten = store.forget_publishers().await;
    forgotten.expect("the store is there");
    assert!(!store.is_published().await.expect("the store is there"));
    beat(&store, alone()).await;
}

fn takes(name: &str, event_types: &[&str]) -> HandlerRoute {
    HandlerRoute::new(name, event_types.iter().copied())
}

fn serving(relay: RelayId, handlers: &[(&str, &[&str])]) -> Heartbeat {
    let served = handlers.iter().map(|(name, event_types)| ServedHandler {
        name: Arc::from(*name),
        takes: event_types.iter().copied().map(Arc::from).collect(),
    });
    Heartbeat {
        handlers: served.collect(),
        ..heartbeat(relay, LONG)
    }
}

fn names(handlers: &[RecordedHandler]) -> Vec<&str> {
    handlers.iter().map(|handler| &*handler.name).collect()
}

async fn record(store: &impl RelayStore, routes: &[HandlerRoute]) {
    store
        .record_handlers(routes)
        .await
        .expect("the store is there");
}

async fn retire(store: &impl HandlerControl, name: &str) -> Option<Leftovers> {
    store
        .retire_handler(name)
        .await
        .expect("the store is there")
}

async fn recorded<H: StoreHarness>(bench: &Bench<'_, H>) -> Vec<RecordedHandler> {
    bench.next().await.handlers
}

/// The event types of the first handler.
async fn taken<H: StoreHarness>(bench: &Bench<'_, H>) -> Vec<String> {
    let takes = recorded(bench).await.remove(0).takes;
    takes.iter().map(ToString::to_string).collect()
}
