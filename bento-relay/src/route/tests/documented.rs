//! The rules that the documentation shows.

use super::*;

/// The TOML example of `docs/routing.md`.
#[test]
fn the_documented_rules_are_in_order() {
    let document = include_str!("../../../../docs/routing.md");
    let (_, quoted) = document.split_once("```toml\n").expect("it quotes rules");
    let (rules, _) = quoted.split_once("```").expect("the quotation ends");
    let config =
        RouterConfig::read(toml::Deserializer::parse(rules).expect("TOML")).expect("rules");
    let router = config.build().expect("they are in order");
    let large = r#"{"order_id":7,"total":"1250.00","customer":{"country":"FR","name":"Ann"}}"#;
    let targets = router
        .route(&event("order.placed", large))
        .expect("it goes somewhere");
    assert_eq!(names(&targets)[..2], ["orders", "fraud"]);
    assert_eq!(
        &*targets[1].envelope.payload,
        br#"{"order_id":7,"total":"1250.00","customer":{},"country":"FR","checked":false}"#
    );
    assert_eq!(
        targets[1]
            .route
            .retry
            .map(|retry| retry.transient.max_attempts),
        Some(50)
    );
    let small = event(
        "order.placed",
        r#"{"total":999.99,"customer":{"country":"FR"}}"#,
    );
    assert_eq!(routed(&router, &small)[0], "orders");
    assert!(!routed(&router, &small).contains(&"fraud".to_owned()));
}
