//! Destinations that are not defined.

use bento_relay::publish::{Destination, MemoryPublisher, Publishers};
use bento_relay::route::{Router, RouterConfig, Rule};
use bento_relay::store::NewDeadLetter;
use bento_relay::{Relay, StartError};

use crate::scene::play;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_with_an_unknown_destination_is_unroutable_alone() {
    play(async |scene| {
        scene
            .commit(1, "lost", |metadata| {
                metadata.with_destinations(["nowhere"])
            })
            .await;
        scene.commit(1, "behind it", |metadata| metadata).await;
        scene.commit(2, "beside it", |metadata| metadata).await;
        let (broker, config) = (MemoryPublisher::new(), RouterConfig::default());
        let config = config
            .destination(Destination::new("known"))
            .rule(Rule::new("all").to(["known"]));
        let publishers = Publishers::new().with("known", broker.clone());
        let relay = Relay::builder(scene.store(), publishers)
            .router(config.build().unwrap())
            .wake(&scene.wake);
        let relay = relay
            .unroutable_after(std::time::Duration::ZERO)
            .start()
            .unwrap();
        // Order is kept for each destination: what goes elsewhere does not wait.
        scene.counted([0, 0, 1]).await;
        relay.stop().await.unwrap();
        let published = broker.published();
        let mut accounts: Vec<_> = published
            .iter()
            .map(|delivery| &*delivery.envelope.aggregate_id)
            .collect();
        accounts.sort();
        assert_eq!(accounts, ["1", "2"]);

        let dead = scene.dead().await;
        let [letter] = &dead[..] else {
            panic!("{dead:?}")
        };
        assert_eq!(
            (&*letter.cause, &*letter.route),
            (NewDeadLetter::UNROUTABLE, "nowhere")
        );
        assert!(letter.error.contains("`nowhere`"), "{}", letter.error);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_whose_rules_lead_to_no_publisher_does_not_start() {
    play(async |scene| {
        let publishers = Publishers::new().with("known", MemoryPublisher::new());
        let relay = Relay::builder(scene.store(), publishers)
            .router(Router::to(Destination::new("elsewhere")));
        let refused = relay.start().unwrap_err();
        assert!(
            refused.to_string().contains("which no publisher serves"),
            "{refused}"
        );
        let StartError::UnknownDestination(unknown) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(
            (&*unknown.destination, &*unknown.publisher),
            ("elsewhere", "elsewhere")
        );
    })
    .await;
}
