//! Routing data that travels with the row.

use bento_core::metadata::Routing;

use super::*;

fn sent_with(metadata: Metadata) -> Arc<Envelope> {
    let mut envelope = Envelope::new("order.placed", 1, DateTime::UNIX_EPOCH, "{}");
    (envelope.routing, envelope.routing_version) = metadata.routing(envelope.occurred_at).encode();
    Arc::new(envelope)
}

fn router() -> Router {
    let config = to(&["a", "b", "rest", "x", "y"])
        .rule(
            Rule::new("all")
                .to(["a"])
                .delay(Duration::from_secs(5))
                .expires_after(Duration::from_secs(50)),
        )
        .rule(
            Rule::new("whole")
                .events(["never.*"])
                .to(["x", "y"])
                .all_or_nothing(),
        )
        .fallback("rest");
    config.build().unwrap()
}

#[test]
fn the_destinations_of_the_event_win_over_the_rules() {
    let router = router();
    let own = sent_with(Metadata::default().with_destinations(["b", "rest", "b"]));
    let targets = router.route(&own).unwrap();
    assert_eq!(names(&targets), ["b", "rest"]);
    assert_eq!(targets[0].not_before, None, "the delay is the rule's");
    assert_eq!(
        targets[0].route.fallback.as_ref().map(|route| &*route.name),
        Some("rest")
    );
    assert_eq!(
        names(
            &router
                .route(&sent_with(Metadata::default().with_destinations(["whole"])))
                .unwrap()
        ),
        ["whole"]
    );
    let resumed = router
        .resume(
            &sent_with(Metadata::default().with_destinations(["a"])),
            "a",
        )
        .unwrap();
    assert_eq!(resumed.route.delay, None, "it did not come by the rule");
}

#[test]
fn an_unknown_destination_is_an_error_for_the_whole_event() {
    for name in ["gone", "dead_letter_queue", ""] {
        let own = sent_with(Metadata::default().with_destinations(["a", name]));
        assert_eq!(
            router().route(&own).unwrap_err(),
            RouteError::UnknownDestination {
                name: name.to_owned()
            }
        );
    }
}

#[test]
fn the_times_of_the_event_win_over_those_of_the_rule() {
    let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
    let own = sent_with(
        Metadata::default()
            .with_deliver_after(Duration::from_secs(7))
            .with_expires_at(at(8)),
    );
    let router = router();
    for target in [
        router.route(&own).unwrap().remove(0),
        router.resume(&own, "a").unwrap(),
    ] {
        assert_eq!(
            (target.not_before, target.expires_at),
            (Some(at(7)), Some(at(8)))
        );
    }
    let target = router
        .route(&sent_with(Metadata::default()))
        .unwrap()
        .remove(0);
    assert_eq!(
        (target.not_before, target.expires_at),
        (Some(at(5)), Some(at(50)))
    );
}

#[test]
fn what_a_later_release_wrote_is_refused_and_not_guessed_at() {
    let mut envelope = Envelope::new("order.placed", 1, DateTime::UNIX_EPOCH, "{}");
    for (routing, version) in [
        ("{}", Routing::VERSION + 1),
        ("", 7),
        ("{}", 0),
        ("", 1),
        ("[", 1),
        (r#"{"x":1}"#, 1),
    ] {
        (envelope.routing, envelope.routing_version) = (routing.into(), version);
        let envelope = Arc::new(envelope.clone());
        let is_other = version != Routing::VERSION;
        for error in [
            router().route(&envelope).unwrap_err(),
            router().resume(&envelope, "a").unwrap_err(),
        ] {
            assert_eq!(
                matches!(error, RouteError::UnknownForm { .. }),
                is_other,
                "{routing} {version}"
            );
            assert_eq!(
                matches!(error, RouteError::Invalid { .. }),
                !is_other,
                "{routing} {version}"
            );
        }
    }
}

#[test]
fn rows_held_for_a_former_all_or_nothing_rule_go_on() {
    let rule = Rule::new("both").events(["order.*"]).to(["a", "b"]);
    let router = to(&["a", "b"]).rule(rule).build().unwrap();
    let envelope = sent_with(Metadata::default());
    let resumed = router.resume(&envelope, "both").unwrap().route;
    let to: Vec<_> = resumed.destinations.iter().map(|to| &*to.name).collect();
    assert_eq!((&*resumed.name, to), ("both", vec!["a", "b"]));
    assert!(
        router.routes().all(|route| &*route.name != "both"),
        "nothing new takes it"
    );
}
