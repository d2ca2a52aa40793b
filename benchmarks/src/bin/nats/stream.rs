//! The stream that takes the events.

use std::time::Duration;

use async_nats::jetstream::{self, Context, stream::Config};
use bento_benchmarks::Result;
use bento_brokers::nats::NatsSettings;

/// A stream of this run alone, on the server of `BENTO_TEST_NATS_URL`.
pub(crate) struct Stream {
    url: String,
    name: String,
    context: Context,
}

impl Stream {
    pub(crate) async fn connect() -> Result<Self> {
        let url = std::env::var("BENTO_TEST_NATS_URL")
            .unwrap_or_else(|_| "nats://127.0.0.1:4222".to_owned());
        let context = jetstream::new(async_nats::connect(&url).await?);
        Ok(Self {
            url,
            name: format!("bento-bench-{}", std::process::id()),
            context,
        })
    }

    pub(crate) fn version(&self) -> String {
        self.context.client().server_info().version
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    pub(crate) fn settings(&self) -> NatsSettings {
        NatsSettings {
            urls: vec![self.url.as_str().into()],
            prefix: self.name.clone(),
            ..NatsSettings::default()
        }
    }

    /// The subject of the events' only topic.
    pub(crate) fn subject(&self) -> String {
        format!("{}.order.placed", self.name)
    }

    /// Empty, and with nothing to recognise repeated messages by.
    pub(crate) async fn make_anew(&self) -> Result {
        let _ = self.context.delete_stream(&self.name).await;
        let subjects = vec![self.subject()];
        self.context
            .create_stream(Config {
                name: self.name.clone(),
                subjects,
                ..Config::default()
            })
            .await?;
        Ok(())
    }

    pub(crate) async fn verify(&self, rows: u32) -> Result {
        let stored = self
            .context
            .get_stream(&self.name)
            .await?
            .cached_info()
            .state
            .messages;
        if stored == u64::from(rows) {
            Ok(())
        } else {
            Err(format!("{stored} of {rows} events are in the stream").into())
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Waits until a consumer has acknowledged this number of messages.
    pub(crate) async fn wait_for_acknowledged(&self, consumer: &str, rows: u32) -> Result {
        let stream = self.context.get_stream(&self.name).await?;
        loop {
            let info = stream.consumer_info(consumer).await?;
            if info.ack_floor.stream_sequence >= u64::from(rows) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Deletes a consumer.
    pub(crate) async fn forget(&self, consumer: &str) -> Result {
        let stream = self.context.get_stream(&self.name).await?;
        stream.delete_consumer(consumer).await?;
        Ok(())
    }

    pub(crate) async fn drop(&self) -> Result {
        self.context.delete_stream(&self.name).await?;
        Ok(())
    }
}
