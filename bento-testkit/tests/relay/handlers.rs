//! Handlers: routes that a publisher brings, which every relay follows as they are recorded.

use std::time::Duration;

use bento_relay::handler_control::HandlerControl;
use bento_relay::publish::{Destination, HandlerRoute, MemoryPublisher, Publishers, StartFrom};
use bento_relay::route::{Router, Rule};
use bento_relay::store::Leftovers;
use bento_relay::{Degradation, Relay, RelayStore, StartError};
use tokio::time::sleep;

use crate::house::{Handlers, House, of_type, paid};
use crate::scene::Scene;

#[tokio::test(start_paused = true)]
async fn an_event_goes_to_the_broker_and_to_every_handler_that_takes_it() {
    let house = House::new();
    let handlers = Handlers::new([
        paid("stock"),
        HandlerRoute::new("audit", ["order.*"]),
        HandlerRoute::new("refunds", ["refund.paid"]),
    ]);
    let relay = house.start(&handlers);
    sleep(Duration::from_secs(1)).await;
    house.commit("order.paid", 0..50);
    house.commit("order.sent", 0..20);
    handlers.wait_for("audit", 70).await;
    handlers.wait_for("stock", 50).await;
    house.broker.wait_for(70).await;
    house.scene.wait_for_counts(0, 0, 0).await;
    assert_eq!(handlers.handled_by("refunds"), Vec::<String>::new());
    assert_eq!(handlers.handled_by("stock").len(), 50);
    assert_eq!(relay.health().degraded, []);
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_rules_and_other_publishers_events_go_to_handlers_alone() {
    let scene = Scene::divided(2);
    let handlers = Handlers::new([paid("stock")]);
    let relay = Relay::builder(scene.store.clone(), handlers.clone()).wake(&scene.wake);
    let relay = relay.start().unwrap();
    sleep(Duration::from_secs(1)).await;
    scene.commit_many(3, 10);
    scene.commit_event(of_type("order.sent", "9"));
    handlers.wait_for("stock", 10).await;
    scene.wait_for_counts(0, 0, 0).await;
    relay.stop().await.unwrap();
    // With a broker beside the handlers, a rule has to say what the broker gets.
    let publishers = Publishers::new()
        .with("nats", MemoryPublisher::new())
        .with_handlers(handlers);
    let refused = Relay::builder(scene.store.clone(), publishers).start();
    assert!(matches!(refused, Err(StartError::UnknownDestination(_))));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_a_handler_names_needs_no_rule() {
    let scene = Scene::divided(2);
    let handlers = Handlers::new([paid("stock"), HandlerRoute::new("audit", ["*"])]);
    let router = Router::builder()
        .destination(Destination::new("b"))
        .rule(Rule::new("sent").events(["order.sent"]).to(["b"]));
    let broker = MemoryPublisher::new();
    let publishers = Publishers::new()
        .with("b", broker.clone())
        .with_handlers(handlers.clone());
    let relay = Relay::builder(scene.store.clone(), publishers)
        .wake(&scene.wake)
        .router(router.build().unwrap());
    let relay = relay.start().unwrap();
    sleep(Duration::from_secs(1)).await;
    scene.commit_event(of_type("order.paid", "1"));
    scene.commit_event(of_type("order.sent", "2"));
    // Another release may have a rule for what only a pattern takes here.
    scene.commit_event(of_type("order.lost", "3"));
    handlers.wait_for("audit", 2).await;
    scene.wait_for_counts(0, 1, 0).await;
    assert_eq!(handlers.handled_by("stock"), ["1"]);
    assert_eq!(broker.published().len(), 1);
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_without_order_is_not_held_up_by_an_aggregate() {
    let house = House::new();
    let handlers = Handlers::new([paid("stock").ordered(false)]);
    let relay = house.start(&handlers);
    sleep(Duration::from_secs(1)).await;
    house.commit("order.paid", 0..50);
    handlers.wait_for("stock", 50).await;
    house.scene.wait_for_counts(0, 0, 0).await;
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_older_release_holds_the_events_of_a_new_handler_and_loses_none() {
    let house = House::new();
    let old = Handlers::new([paid("stock")]);
    let new = old.released([paid("stock"), paid("new")]);
    let old_relay = house.start(&old);
    sleep(Duration::from_secs(1)).await;
    house.commit("order.paid", 0..20);
    old.wait_for("stock", 20).await;
    // The new release starts, and is gone before it did anything.
    house
        .scene
        .store
        .record_handlers(&new.routes)
        .await
        .unwrap();
    house.commit("order.paid", 20..60);
    old.wait_for("stock", 60).await;
    house.broker.wait_for(60).await;
    house.scene.wait_for_counts(0, 40, 0).await;
    assert_eq!(
        old_relay.health().degraded,
        [Degradation::HandlersAway {
            handlers: vec!["new".into()]
        }]
    );
    // Longer than any wait for a missing route.
    sleep(Duration::from_secs(3 * 60 * 60)).await;
    house.scene.wait_for_counts(0, 40, 0).await;
    let new_relay = house.start(&new);
    new.wait_for("new", 40).await;
    house.scene.wait_for_counts(0, 0, 0).await;
    assert_eq!((old.handled_by("stock").len(), house.published()), (60, 60));
    old_relay.stop().await.unwrap();
    new_relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_has_every_handler_gets_the_shards() {
    let house = House::new();
    let old = Handlers::new([paid("stock")]);
    let new = old.released([paid("stock"), paid("new")]);
    let old_relay = house.start(&old);
    sleep(Duration::from_secs(1)).await;
    let new_relay = house.start(&new);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(house.scene.shares().await, [4]);
    let degraded = old_relay.health().degraded;
    assert!(degraded.contains(&Degradation::NoShard), "{degraded:?}");
    assert_eq!(new_relay.health().degraded, []);
    house.commit("order.paid", 0..100);
    new.wait_for("new", 100).await;
    house.scene.wait_for_counts(0, 0, 0).await;
    // The new release is taken away again: everything else goes on.
    new_relay.stop().await.unwrap();
    house.commit("order.paid", 100..150);
    old.wait_for("stock", 150).await;
    house.broker.wait_for(150).await;
    house.scene.wait_for_counts(0, 50, 0).await;
    let new_relay = house.start(&new);
    new.wait_for("new", 150).await;
    house.scene.wait_for_counts(0, 0, 0).await;
    assert_eq!(
        (old.handled_by("stock").len(), house.published()),
        (150, 150)
    );
    old_relay.stop().await.unwrap();
    new_relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_new_handler_misses_nothing_that_is_committed_after_it_was_recorded() {
    let house = House::new();
    let old = Handlers {
        takes: Duration::from_millis(30),
        ..Handlers::new([paid("stock")])
    };
    let new = old.released([paid("stock"), paid("new")]);
    let old_relay = house.start(&old);
    sleep(Duration::from_secs(1)).await;
    // Batches are under way all the time, while the new handler is recorded.
    let mut committed = 0;
    for step in 0..100 {
        house.commit("order.paid", committed..committed + 5);
        committed += 5;
        if step == 50 {
            house
                .scene
                .store
                .record_handlers(&new.routes)
                .await
                .unwrap();
        }
        sleep(Duration::from_millis(10)).await;
    }
    let after: u32 = 49 * 5;
    let new_relay = house.start(&new);
    new.wait_for("new", after as usize).await;
    house.scene.wait_for_counts(0, 0, 0).await;
    assert_eq!(new.handled_by("new").len(), after as usize);
    assert_eq!(
        (old.handled_by("stock").len(), house.published()),
        (500, 500)
    );
    old_relay.stop().await.unwrap();
    new_relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_new_handler_may_begin_with_what_the_outbox_holds() {
    let house = House::new();
    house.commit("order.paid", 0..10);
    let handlers = Handlers::new([paid("all").from(StartFrom::Beginning), paid("now")]);
    let relay = house.start(&handlers);
    handlers.wait_for("all", 10).await;
    house.commit("order.paid", 10..20);
    handlers.wait_for("all", 20).await;
    handlers.wait_for("now", 10).await;
    house.scene.wait_for_counts(0, 0, 0).await;
    assert_eq!(handlers.handled_by("now").len(), 10);
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_new_handler_may_begin_with_the_events_after_a_time() {
    let house = House::new();
    let time = chrono::Utc::now();
    let commit = |aggregate: &str, seconds| {
        let mut event = of_type("order.paid", aggregate);
        event.occurred_at = time + chrono::Duration::seconds(seconds);
        house.scene.commit_event(event);
    };
    commit("before", -1);
    commit("then", 0);
    let handlers = Handlers::new([paid("stock").from(StartFrom::At(time))]);
    let relay = house.start(&handlers);
    handlers.wait_for("stock", 1).await;
    // An event of an earlier time is left out whenever it is committed.
    commit("imported", -60);
    commit("later", 1);
    handlers.wait_for("stock", 2).await;
    house.scene.wait_for_counts(0, 0, 0).await;
    let mut handled = handlers.handled_by("stock");
    handled.sort();
    assert_eq!(handled, ["later", "then"]);
    assert_eq!(house.published(), 4);
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_type_that_only_another_release_takes_waits_for_it() {
    let house = House::new();
    let old = Handlers::new([paid("stock")]);
    let wide = HandlerRoute::new("stock", ["order.paid", "order.sent"]);
    let new = old.released([wide]);
    let (old_relay, new_relay) = (house.start(&old), house.start(&new));
    sleep(Duration::from_secs(60)).await;
    new_relay.stop().await.unwrap();
    // The old release starts once more while no relay of the new one is there to be asked.
    house.commit("order.sent", 0..10);
    house.commit("order.paid", 0..10);
    house.broker.wait_for(20).await;
    // What comes behind an event that waits keeps its order.
    house.scene.wait_for_counts(0, 20, 0).await;
    assert_eq!(old.handled_by("stock").len(), 0);
    let new_relay = house.start(&new);
    new.wait_for("stock", 20).await;
    house.scene.wait_for_counts(0, 0, 0).await;
    old_relay.stop().await.unwrap();
    new_relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_old_release_that_starts_again_narrows_no_handler_of_a_living_one() {
    let house = House::new();
    let old = Handlers::new([paid("stock")]);
    let new = old.released([HandlerRoute::new("stock", ["order.paid", "order.sent"])]);
    let new_relay = house.start(&new);
    sleep(Duration::from_secs(30)).await;
    let old_relay = house.start(&old);
    sleep(Duration::from_secs(30)).await;
    house.commit("order.sent", 0..10);
    new.wait_for("stock", 10).await;
    assert_eq!(house.scene.shares().await, [4]);
    old_relay.stop().await.unwrap();
    new_relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_retired_handler_gets_nothing_more_and_what_waits_for_it_ends() {
    let house = House::new();
    let both = Handlers::new([paid("stock"), paid("gone")]);
    let relay = house.start(&both);
    sleep(Duration::from_secs(1)).await;
    relay.stop().await.unwrap();
    let stock = both.released([paid("stock")]);
    let relay = house.start(&stock);
    house.commit("order.paid", 0..7);
    stock.wait_for("stock", 7).await;
    house.scene.wait_for_counts(0, 7, 0).await;
    let retired = house.scene.store.retire_handler("gone").await.unwrap();
    assert_eq!(retired, Some(Leftovers { held: 7, dead: 0 }));
    assert_eq!(
        house.scene.store.retire_handler("gone").await.unwrap(),
        None
    );
    house.commit("order.paid", 7..14);
    stock.wait_for("stock", 14).await;
    sleep(Duration::from_secs(60)).await;
    house.scene.wait_for_counts(0, 7, 0).await;
    // As those of a destination that is not known.
    sleep(Duration::from_secs(60 * 60)).await;
    house.scene.wait_for_counts(0, 0, 7).await;
    let dead = house.scene.dead().await;
    assert!(dead.iter().all(|dead| &*dead.route == "gone"));
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pass_records_and_follows_the_handlers() {
    let house = House::new();
    let handlers = Handlers::new([paid("stock").from(StartFrom::Beginning)]);
    house.commit("order.paid", 0..5);
    let report = house.relay(&handlers).run_until_empty().await.unwrap();
    assert_eq!(report.tally.published, 10);
    let none = house.relay(&handlers.released([]));
    house.commit("order.paid", 5..10);
    let report = none.run_until_empty().await.unwrap();
    assert_eq!((report.tally.published, report.tally.held_back), (5, 5));
    let report = house.relay(&handlers).run_until_empty().await.unwrap();
    assert_eq!(report.tally.published, 5);
}

#[tokio::test(start_paused = true)]
async fn a_handler_cannot_have_the_name_of_a_route() {
    let house = House::new();
    for name in ["b", "unroutable", ""] {
        let refused = house.relay(&Handlers::new([paid(name)])).start();
        assert!(matches!(refused, Err(StartError::RouteName(_))), "`{name}`");
    }
}
