//! A broker and handlers, and relays of several releases that have them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bento_core::Envelope;
use bento_relay::publish::{
    Answering, Delivery, Destination, HandlerRoute, MemoryPublisher, PublishError, Publisher,
    Publishers,
};
use bento_relay::route::Router;
use bento_relay::{MemoryStore, Relay, RelayBuilder, RelayHandle};
use tokio::time::sleep;

use crate::scene::{PATIENCE, Scene, event};

/// A handler and the aggregate of an event that it has handled.
pub(crate) type Handled = (Arc<str>, String);

/// The handlers of one release, which note what they have handled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handlers {
    pub(crate) routes: Vec<HandlerRoute>,
    pub(crate) handled: Arc<Mutex<Vec<Handled>>>,
    pub(crate) takes: Duration,
    /// The newest version of an event that this release knows.
    pub(crate) knows: Arc<Mutex<u32>>,
}

impl Handlers {
    pub(crate) fn new<const N: usize>(routes: [HandlerRoute; N]) -> Self {
        Self {
            routes: routes.into(),
            knows: Arc::new(Mutex::new(1)),
            ..Self::default()
        }
    }

    /// The handlers of another release, which note it in the same place.
    pub(crate) fn released<const N: usize>(&self, routes: [HandlerRoute; N]) -> Self {
        Self {
            routes: routes.into(),
            ..self.clone()
        }
    }

    /// The aggregates that a handler has handled, each event once, in order.
    pub(crate) fn handled_by(&self, name: &str) -> Vec<String> {
        let handled = self.handled.lock().unwrap();
        let of_it = handled.iter().filter(|(handler, _)| **handler == *name);
        of_it.map(|(_, aggregate)| aggregate.clone()).collect()
    }

    pub(crate) async fn wait_for(&self, name: &str, count: usize) {
        let reached = async {
            while self.handled_by(name).len() < count {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, reached).await;
        in_time.unwrap_or_else(|_| panic!("{name} handled {:?}", self.handled_by(name)));
    }
}

impl Publisher for Handlers {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        let [delivery] = batch else {
            panic!("{} events in one call", batch.len());
        };
        let name = &delivery.destination.name;
        let knows = |route: &&HandlerRoute| route.name == *name;
        let route = self.routes.iter().find(knows).expect("it is its handler");
        let event_type = &*delivery.envelope.event_type;
        let takes = |taken: &Arc<str>| {
            let prefix = taken.strip_suffix('*');
            prefix.map_or(**taken == *event_type, |prefix| {
                event_type.starts_with(prefix)
            })
        };
        assert!(
            route.takes.iter().any(takes),
            "{name} takes no {event_type}"
        );
        sleep(self.takes).await;
        if delivery.envelope.schema_version > *self.knows.lock().unwrap() {
            return vec![Err(PublishError::newer_version(
                "version 2 of `order.paid`",
            ))];
        }
        let aggregate = delivery.envelope.aggregate_id.clone();
        self.handled
            .lock()
            .unwrap()
            .push((Arc::clone(name), aggregate));
        vec![Ok(())]
    }

    fn answering(&self, _: &Destination) -> Answering {
        Answering::one_by_one(4)
    }

    fn serves(&self, destination: &Destination) -> bool {
        self.routes
            .iter()
            .any(|route| route.name == destination.name)
    }

    fn handlers(&self) -> Vec<HandlerRoute> {
        self.routes.clone()
    }
}

/// A broker that gets everything, and relays of releases with handlers.
pub(crate) struct House {
    pub(crate) scene: Scene,
    pub(crate) broker: MemoryPublisher,
}

impl House {
    pub(crate) fn new() -> Self {
        Self {
            scene: Scene::divided(4),
            broker: MemoryPublisher::new(),
        }
    }

    pub(crate) fn relay(&self, handlers: &Handlers) -> RelayBuilder<MemoryStore, Publishers> {
        let publishers = Publishers::new()
            .with("b", self.broker.clone())
            .with_handlers(handlers.clone());
        Relay::builder(self.scene.store.clone(), publishers)
            .wake(&self.scene.wake)
            .router(Router::to(Destination::new("b")))
            .seed(1)
    }

    pub(crate) fn start(&self, handlers: &Handlers) -> RelayHandle {
        self.relay(handlers).start().unwrap()
    }

    /// Commits an event of this type for each number, of 7 aggregates.
    pub(crate) fn commit(&self, event_type: &'static str, numbers: std::ops::Range<u32>) {
        for number in numbers {
            self.scene
                .commit_event(of_type(event_type, &(number % 7).to_string()));
        }
    }

    pub(crate) fn published(&self) -> usize {
        self.broker.published().len()
    }
}

pub(crate) fn of_type(event_type: &'static str, aggregate_id: &str) -> Envelope {
    let mut event = event(aggregate_id);
    event.event_type = event_type.into();
    event
}

pub(crate) fn paid(name: &str) -> HandlerRoute {
    HandlerRoute::new(name, ["order.paid"])
}
