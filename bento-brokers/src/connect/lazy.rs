//! A connection that is made by the first call that needs it, and anew by the first call after it
//! was lost.

use std::sync::Arc;
use std::time::Duration;

use bento_core::report::with_causes;
use bento_relay::publish::PublishError;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::ConnectError;

/// Between two attempts to connect: this, doubled up to the most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A connection to a broker.
pub(crate) trait Link: Sized + Send + Sync {
    type Settings: Sync;

    /// The name of the broker in messages.
    const BROKER: &'static str;

    /// Makes one attempt to connect, within the time that the settings give it.
    fn open(settings: &Self::Settings) -> impl Future<Output = Result<Self, ConnectError>> + Send;

    /// False for a connection that does not come back by itself.
    fn is_open(&self) -> bool;
}

/// The connection of a publisher.
///
/// It has no task of its own: the calls of the relay are its attempts. After a failed attempt calls
/// are answered with its error, and no other attempt is made, for a pause that grows from 0.1 s to
/// 5 s.
pub(crate) struct Lazy<L: Link> {
    settings: L::Settings,
    state: Mutex<State<L>>,
}

struct State<L> {
    link: Option<Arc<L>>,
    pause: Duration,
    /// The time of the next attempt, and the error of the last one.
    next: Option<(Instant, String)>,
}

impl<L> Default for State<L> {
    fn default() -> Self {
        Self {
            link: None,
            pause: FIRST_PAUSE,
            next: None,
        }
    }
}

impl<L: Link> State<L> {
    fn open_link(&self) -> Option<Arc<L>> {
        self.link.as_ref().filter(|link| link.is_open()).cloned()
    }

    async fn connect(&mut self, settings: &L::Settings) -> Result<Arc<L>, ConnectError> {
        match L::open(settings).await {
            Ok(link) => {
                tracing::info!(broker = L::BROKER, "connected to the broker");
                let link = Arc::new(link);
                *self = Self {
                    link: Some(Arc::clone(&link)),
                    ..Self::default()
                };
                Ok(link)
            }
            Err(error) => {
                self.next = Some((Instant::now() + self.pause, with_causes(&error)));
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                Err(error)
            }
        }
    }
}

impl<L: Link> Lazy<L> {
    pub(crate) fn new(settings: L::Settings) -> Self {
        Self {
            settings,
            state: Mutex::default(),
        }
    }

    pub(crate) fn settings(&self) -> &L::Settings {
        &self.settings
    }

    /// An open connection. Several callers make one attempt between them.
    pub(crate) async fn link(&self) -> Result<Arc<L>, PublishError> {
        let mut state = self.state.lock().await;
        if let Some(link) = state.open_link() {
            return Ok(link);
        }
        if let Some((_, why)) = state
            .next
            .as_ref()
            .filter(|(next, _)| Instant::now() < *next)
        {
            return Err(PublishError::unavailable(format!(
                "not connected to {}: {why}",
                L::BROKER
            )));
        }
        let attempt = state.connect(&self.settings).await;
        attempt.map_err(|error| {
            PublishError::unavailable(format!("not connected to {}", L::BROKER)).because(error)
        })
    }

    /// An open connection, for which an attempt is made at once if there is none.
    pub(crate) async fn check(&self) -> Result<Arc<L>, ConnectError> {
        let mut state = self.state.lock().await;
        match state.open_link() {
            Some(link) => Ok(link),
            None => state.connect(&self.settings).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

    use bento_relay::publish::FailureClass;

    use super::*;

    #[derive(Default)]
    struct Broker {
        is_there: AtomicBool,
        attempts: AtomicUsize,
    }

    struct Wire(AtomicBool);

    impl Link for Wire {
        type Settings = Arc<Broker>;
        const BROKER: &'static str = "the broker";

        async fn open(broker: &Arc<Broker>) -> Result<Self, ConnectError> {
            broker.attempts.fetch_add(1, SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
            match broker.is_there.load(SeqCst) {
                true => Ok(Self(AtomicBool::new(true))),
                false => Err(ConnectError::Unreachable {
                    address: "h:1".to_owned(),
                    source: "refused".into(),
                }),
            }
        }

        fn is_open(&self) -> bool {
            self.0.load(SeqCst)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_call_connects_and_pauses_between_attempts_grow() {
        let broker = Arc::new(Broker::default());
        let lazy = Lazy::<Wire>::new(Arc::clone(&broker));
        assert_eq!(broker.attempts.load(SeqCst), 0);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            let error = lazy.link().await.err().expect("the broker is not there");
            assert_eq!(error.class(), FailureClass::Unavailable);
            assert_eq!(
                error.chain(),
                "not connected to the broker: no connection to h:1: refused"
            );
            tokio::time::advance(Duration::from_millis(50)).await;
        }
        let attempts = broker.attempts.load(SeqCst);
        assert!(
            (10..20).contains(&attempts),
            "{attempts} attempts in a minute"
        );

        broker.is_there.store(true, SeqCst);
        tokio::time::advance(LONGEST_PAUSE).await;
        let link = lazy.link().await.expect("it is there");
        assert!(Arc::ptr_eq(&link, &lazy.link().await.expect("it stays")));
        link.0.store(false, SeqCst);
        assert!(!Arc::ptr_eq(
            &link,
            &lazy.link().await.expect("a lost one is made anew")
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn callers_share_an_attempt_and_who_checks_waits_for_no_pause() {
        let broker = Arc::new(Broker::default());
        let lazy = Lazy::<Wire>::new(Arc::clone(&broker));
        let (one, other) = tokio::join!(lazy.link(), lazy.link());
        assert!(one.is_err() && other.is_err());
        assert_eq!(broker.attempts.load(SeqCst), 1);
        broker.is_there.store(true, SeqCst);
        lazy.check().await.expect("an attempt is made");
        lazy.link().await.expect("it is kept");
        assert_eq!(broker.attempts.load(SeqCst), 2);
    }
}
