//! A relay with handlers alone beside relays that publish.

use bento_relay::handler_control::HandlerControl;
use bento_relay::publish::{
    Delivery, Destination, HandlerRoute, MemoryPublisher, PublishError, Publisher, Publishers,
};
use bento_relay::route::Router;
use bento_relay::{MemoryStore, Relay};

#[derive(Clone, Debug)]
struct Mail;

impl Publisher for Mail {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        batch.iter().map(|_| Ok(())).collect()
    }

    fn handlers(&self) -> Vec<HandlerRoute> {
        vec![HandlerRoute::new("mail.send", ["order.*"])]
    }
}

#[tokio::test]
async fn handlers_alone_do_not_take_what_others_publish() {
    let store = MemoryStore::default();
    let alone = || Relay::builder(store.clone(), Mail);
    alone().run_until_empty().await.unwrap();
    let both = Publishers::new()
        .with_handlers(Mail)
        .with("nats", MemoryPublisher::new());
    let router = Router::to(Destination::new("nats"));
    let both = Relay::builder(store.clone(), both).router(router);
    both.run_until_empty().await.unwrap();
    let refused = alone().run_until_empty().await.unwrap_err().to_string();
    assert!(
        refused.starts_with("this relay has handlers and no publisher, and other relays publish"),
        "{refused}"
    );
    let mut started = alone().start().unwrap();
    let ended = started.join().await.unwrap_err();
    assert_eq!(ended.to_string(), refused);
    store.forget_publishers().await.unwrap();
    alone().run_until_empty().await.unwrap();
}
