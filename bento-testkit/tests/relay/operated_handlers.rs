//! Handlers that an operator pauses, and events that wait for a newer release.

use std::time::Duration;

use bento_relay::Degradation;
use bento_relay::handler_control::HandlerControl;
use bento_relay::store::Leftovers;
use tokio::time::sleep;

use crate::house::{Handlers, House, of_type, paid};

#[tokio::test(start_paused = true)]
async fn a_paused_handler_gets_nothing_and_its_events_keep_their_order() {
    let house = House::new();
    let handlers = Handlers::new([paid("stock"), paid("mail")]);
    let relay = house.start(&handlers);
    sleep(Duration::from_secs(1)).await;
    house.commit("order.paid", 0..7);
    handlers.wait_for("mail", 7).await;
    let store = &house.scene.store;
    assert!(store.pause_handler("mail", "audit", None).await.unwrap());
    house.commit("order.paid", 7..70);
    handlers.wait_for("stock", 70).await;
    house.broker.wait_for(70).await;
    house.scene.wait_for_counts(0, 63, 0).await;
    // Longer than any wait for something that is missing.
    sleep(Duration::from_secs(3 * 60 * 60)).await;
    assert_eq!(handlers.handled_by("mail").len(), 7);
    house.scene.wait_for_counts(0, 63, 0).await;
    assert_eq!(relay.health().degraded, []);
    let listed = store.handlers().await.unwrap();
    assert_eq!(listed[0].waiting, Leftovers { held: 63, dead: 0 });
    assert!(store.resume_handler("mail").await.unwrap());
    handlers.wait_for("mail", 70).await;
    house.scene.wait_for_counts(0, 0, 0).await;
    let of_one = |name| {
        let all = handlers.handled_by(name).into_iter();
        all.filter(|aggregate| aggregate == "3").count()
    };
    assert_eq!(
        (of_one("mail"), handlers.handled_by("mail").len()),
        (10, 70)
    );
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_newer_version_waits_and_is_named() {
    let house = House::new();
    let handlers = Handlers::new([paid("stock")]);
    let relay = house.start(&handlers);
    sleep(Duration::from_secs(1)).await;
    let mut newer = of_type("order.paid", "1");
    newer.schema_version = 2;
    house.scene.commit_event(newer);
    house.commit("order.paid", 2..7);
    handlers.wait_for("stock", 5).await;
    let waiting = Degradation::NewerVersions {
        handlers: vec!["stock".to_owned()],
        event_types: vec!["order.paid".to_owned()],
    };
    // It is named for as long as it waits, and has no attempt.
    for _ in 0..30 {
        sleep(Duration::from_secs(7)).await;
        assert_eq!(relay.health().degraded, std::slice::from_ref(&waiting));
    }
    house.scene.wait_for_counts(0, 1, 0).await;
    assert_eq!(
        waiting.to_string(),
        "events of a newer version wait for a release that knows it: event type `order.paid`, \
         handler `stock`"
    );
    *handlers.knows.lock().unwrap() = 2;
    handlers.wait_for("stock", 6).await;
    house.scene.wait_for_counts(0, 0, 0).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(relay.health().degraded, []);
    relay.stop().await.unwrap();
}
