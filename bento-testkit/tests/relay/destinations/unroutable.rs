//! Routes and events without a destination.

use super::*;

#[tokio::test]
async fn a_route_without_a_publisher_refuses_the_start() {
    let pair = Pair::new();
    let router = || {
        RouterConfig::by_event_type([("*", "nowhere")])
            .build()
            .unwrap()
    };
    let refused = pair.relay(router()).start().unwrap_err();
    assert!(matches!(
        &refused,
        StartError::UnknownDestination(unknown) if &*unknown.destination == "nowhere"
    ));
    assert_eq!(
        refused.to_string(),
        "route `nowhere` leads to destination `nowhere`, which no publisher serves; add a \
         publisher named `nowhere` to the `Publishers`, or name one of them with `Destination::via`"
    );
    assert!(matches!(
        pair.relay(router()).run_once().await,
        Err(RelayError::UnknownDestination(_))
    ));
}

#[tokio::test]
async fn a_reserved_or_too_long_route_name_refuses_the_start() {
    let pair = Pair::new();
    let long = "d".repeat(129);
    for (name, rule) in [
        (
            "unroutable",
            "the name `unroutable` is reserved for events that have no route: choose another",
        ),
        (
            "unreadable",
            "the name `unreadable` is reserved for events that have no route: choose another",
        ),
        ("", "a name has 1 to 128 bytes and no control characters"),
        (
            &*long,
            "a name has 1 to 128 bytes and no control characters",
        ),
    ] {
        let router = || Router::to(Destination::new(name));
        let refused = pair.relay(router()).start().unwrap_err();
        assert!(
            matches!(&refused, StartError::RouteName(error) if &*error.name == name),
            "{refused:?}"
        );
        assert_eq!(
            refused.to_string(),
            format!("invalid route name `{name}`: {rule}")
        );
        assert!(matches!(
            pair.relay(router()).run_once().await,
            Err(RelayError::RouteName(_))
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn a_replayed_unroutable_event_waits_for_its_destination() {
    let pair = Pair::new();
    pair.commit_many(1, 1);
    let nothing = Router::builder()
        .destination(Destination::new("left"))
        .destination(Destination::new("right"));
    let only_others = Rule::new("others")
        .events(["other.*"])
        .to(["left", "right"]);
    let relay = pair.relay(nothing.rule(only_others).build().unwrap());
    assert_eq!(
        relay
            .unroutable_after(Duration::ZERO)
            .run_until_empty()
            .await
            .unwrap()
            .tally
            .dead,
        1
    );
    let dead = pair.scene.dead().await.remove(0);
    assert_eq!((&*dead.cause, &*dead.route), ("unroutable", "unroutable"));

    pair.left
        .fail(|_| Some(PublishError::unavailable("connection refused")));
    let relay = pair.relay(both(|rule| rule)).start().unwrap();
    pair.commit_more(1, 20, 19);
    pair.right.wait_for(19).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(
        pair.scene
            .store
            .replay(dead.envelope.event_id, "unroutable")
            .await
            .unwrap()
            .replayed
    );
    tokio::time::sleep(Duration::from_secs(600)).await;
    pair.left.recover();
    pair.wait_for(20, 20).await;
    pair.scene.wait_for_counts(0, 0, 0).await;
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_unknown_to_an_older_release_waits_in_order() {
    let pair = Pair::new();
    let older = || {
        let config = Router::builder()
            .destination(Destination::new("left"))
            .destination(Destination::new("right"));
        config
            .rule(Rule::new("old").events(["other.*"]).to(["left"]))
            .build()
            .unwrap()
    };
    pair.commit_many(1, 3);
    let report = pair.relay(older()).run_until_empty().await.unwrap();
    assert_eq!(
        (
            report.tally.unroutable,
            report.tally.held_back,
            report.tally.dead
        ),
        (1, 2, 0)
    );
    let relay = pair.relay(older()).start().unwrap();
    tokio::time::sleep(Duration::from_secs(3_000)).await;
    pair.commit_more(3, 1, 1);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let degraded = relay.health().degraded;
    let [Degradation::Unroutable { event_types, .. }] = &degraded[..] else {
        panic!("{degraded:?}")
    };
    assert_eq!(
        degraded[0].to_string(),
        format!(
            "events wait for a rule for event type `{}`, which this relay does not have",
            event_types[0]
        )
    );
    relay.stop().await.unwrap();
    pair.scene.wait_for_counts(0, 4, 0).await;

    let relay = pair.relay(both(|rule| rule)).start().unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    pair.wait_for(4, 4).await;
    pair.scene.wait_for_counts(0, 0, 0).await;
    assert_eq!(relay.health().degraded, []);
    relay.stop().await.unwrap();
    pair.assert_exact(&pair.left);
    pair.assert_exact(&pair.right);
}

#[tokio::test(start_paused = true)]
async fn an_unroutable_event_is_a_dead_letter_after_an_hour() {
    let pair = Pair::new();
    let rule = Rule::new("old").events(["other.*"]).to(["left"]);
    let config = Router::builder()
        .destination(Destination::new("left"))
        .destination(Destination::new("right"));
    let router = config.rule(rule).build().unwrap();
    pair.commit_many(1, 2);
    let relay = pair.relay(router).start().unwrap();
    tokio::time::sleep(Duration::from_secs(3_590)).await;
    assert_eq!(pair.scene.dead().await.len(), 0);
    tokio::time::sleep(Duration::from_secs(20)).await;
    pair.scene.wait_for_counts(0, 1, 1).await;
    relay.stop().await.unwrap();
    let dead = pair.scene.dead().await.remove(0);
    assert!(dead.parks && !dead.later_ones_out());

    let relay = pair.relay(both(|rule| rule)).start().unwrap();
    pair.commit_more(2, 1, 1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        (pair.left.published().len(), pair.right.published().len()),
        (0, 0),
        "its aggregate waits"
    );
    assert!(
        !pair
            .scene
            .store
            .replay(dead.envelope.event_id, "unroutable")
            .await
            .unwrap()
            .later_ones_out
    );
    pair.wait_for(3, 3).await;
    pair.scene.wait_for_counts(0, 0, 0).await;
    relay.stop().await.unwrap();
    pair.assert_exact(&pair.left);
    pair.assert_exact(&pair.right);
}
