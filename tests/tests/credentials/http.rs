//! Webhooks: the receiver answers 401 to the token.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bento_brokers::http::{HttpAuthorization, HttpPublisher, HttpSettings};
use bento_testkit::publisher::Received;

use crate::kafka::broker::receiver::{Receiver, Request};
use crate::withdrawn::{Broker, costs_no_event};

struct Hook {
    receiver: Receiver,
    is_valid: Arc<AtomicBool>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_withdrawn_for_a_while_costs_no_event() {
    let is_valid = Arc::new(AtomicBool::new(true));
    let valid = Arc::clone(&is_valid);
    let receiver = Receiver::new(move |request| {
        let is_right = request
            .headers
            .get("authorization")
            .is_some_and(|said| said == "Bearer right");
        let status = if is_right && valid.load(Ordering::SeqCst) {
            204
        } else {
            401
        };
        Some((status, Vec::new(), String::new()))
    });
    costs_no_event(Hook { receiver, is_valid }).await;
}

impl Broker for Hook {
    type Publisher = HttpPublisher;

    async fn publisher(&self) -> HttpPublisher {
        let settings = HttpSettings {
            url: Some(
                format!("http://127.0.0.1:{}/{{topic}}", self.receiver.port)
                    .as_str()
                    .into(),
            ),
            allow_http: true,
            authorization: Some(HttpAuthorization::Bearer("right".into())),
            ..HttpSettings::default()
        };
        HttpPublisher::new(settings).unwrap()
    }

    fn topic(&self) -> String {
        "events".to_owned()
    }

    async fn withdraw(&self) {
        self.is_valid.store(false, Ordering::SeqCst);
    }

    async fn give_back(&self) {
        self.is_valid.store(true, Ordering::SeqCst);
    }

    /// Counts the answered requests as received.
    async fn received(&self, _: usize) -> Vec<Received> {
        let received = |request: Request| Received {
            body: request.body.into(),
            ..Received::default()
        };
        self.receiver.taken().into_iter().map(received).collect()
    }
}
