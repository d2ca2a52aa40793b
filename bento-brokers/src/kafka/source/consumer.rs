//! The consumer behind a subscription.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use rdkafka::consumer::{ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientContext, TopicPartitionList};
use tokio::sync::oneshot;

use super::super::client::Watcher;

pub(super) type Client = StreamConsumer<Context>;

/// Hears what the client reports.
#[derive(Debug, Default)]
pub(super) struct Context {
    pub(super) watcher: Watcher,
    has_warned: AtomicBool,
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        self.watcher.error(error, reason);
    }
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: Result<(), KafkaError>, _: &TopicPartitionList) {
        match result {
            Ok(()) => self.has_warned.store(false, Ordering::Relaxed),
            Err(error) if !self.has_warned.swap(true, Ordering::Relaxed) => tracing::warn!(
                %error,
                "places are not committed to the consumer group: tools show too much lag; the \
                 events are stored all the same"
            ),
            Err(error) => tracing::debug!(%error, "places are not committed"),
        }
    }
}

/// Ends the client on a thread of its own, because the client waits for its threads and for what it
/// has to commit. The receiver hears when it has ended.
pub(super) fn end(client: Arc<Client>) -> oneshot::Receiver<()> {
    let (ended, hears) = oneshot::channel();
    let thread = std::thread::Builder::new().name("bento-kafka-end".to_owned());
    // Without a thread the closure is dropped here, and the client with it.
    let _ = thread.spawn(move || {
        drop(client);
        // Nothing else may be waiting.
        let _ = ended.send(());
    });
    hears
}

/// Serves what the client reports, so that the watcher hears it.
pub(super) fn hear(client: &Client) {
    for _ in 0..100 {
        match client.recv().now_or_never() {
            Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) => {
                break;
            }
            Some(_) => {}
            None => break,
        }
    }
}
