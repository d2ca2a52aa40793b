//! A source at whose seam a process ends.

#![allow(
    clippy::print_stdout,
    reason = "what is received is told to the parent"
)]

use std::time::Duration;

use bento_brokers::ConnectError;
use bento_brokers::nats::{NatsSource, NatsSourceSettings, NatsStart};
use bento_brokers::rabbitmq::{RabbitMqSource, RabbitMqSourceSettings};

use bento_relay::source::{
    BoxSource, BoxSubscription, Most, Received, Resume, Source, SourceError, Subscription,
};

use super::Point;
use super::doom::Doom;

/// A source that tells what it receives, and stands still at its point.
#[derive(Debug)]
pub struct Doomed {
    inner: BoxSource,
    doom: Doom,
    /// True for the control: messages are acknowledged before they are stored, and the broker alone
    /// keeps the place.
    is_early: bool,
}

/// Its subscription.
#[derive(Debug)]
pub struct DoomedSubscription {
    inner: BoxSubscription,
    doom: Doom,
    is_early: bool,
}

impl Doomed {
    /// A source and its point. An early one acknowledges before the events are stored.
    pub fn new(inner: BoxSource, doom: Doom, is_early: bool) -> Self {
        Self {
            inner,
            doom,
            is_early,
        }
    }
}

impl Source for Doomed {
    type Subscription = DoomedSubscription;

    async fn subscribe(&self, resume: Resume) -> Result<DoomedSubscription, SourceError> {
        let resume = match self.is_early {
            true => resume.behind(None),
            false => resume,
        };
        Ok(DoomedSubscription {
            inner: self.inner.subscribe(resume).await?,
            doom: self.doom.clone(),
            is_early: self.is_early,
        })
    }
}

impl Subscription for DoomedSubscription {
    async fn receive(&mut self, most: Most) -> Result<Received, SourceError> {
        let mut received = self.inner.receive(most).await?;
        if received.messages.is_empty() {
            return Ok(received);
        }
        println!("received {}", received.messages.len());
        if self.is_early {
            self.inner.acknowledge().await?;
            // RabbitMQ answers no acknowledgement; the answer to this question comes behind it.
            self.inner.lag().await?;
            received.cursor = None;
        }
        self.doom.at(Point::BeforeStore).await;
        self.doom.at(Point::Stop).await;
        Ok(received)
    }

    async fn acknowledge(&mut self) -> Result<(), SourceError> {
        self.doom.at(Point::BeforeAcknowledge).await;
        if !self.is_early {
            self.inner.acknowledge().await?;
        }
        self.doom.at(Point::AfterAcknowledge).await;
        Ok(())
    }

    async fn lag(&mut self) -> Result<Option<u64>, SourceError> {
        self.inner.lag().await
    }

    async fn close(self) {
        self.inner.close().await;
    }
}

/// The source of a stream of NATS, or of a queue of RabbitMQ, which is made. An early one goes on
/// behind what the broker has as acknowledged.
///
/// # Errors
/// If the settings cannot be used.
///
/// # Panics
/// For another broker.
pub fn of(
    broker: &str,
    url: &str,
    name: String,
    is_early: bool,
) -> Result<BoxSource, ConnectError> {
    match broker {
        "nats" => Ok(BoxSource::new(NatsSource::new(NatsSourceSettings {
            urls: vec![url.into()],
            stream: name,
            start: match is_early {
                // Without a place in the database the consumer in NATS knows it.
                true => NatsStart::New,
                false => NatsStart::All,
            },
            ..NatsSourceSettings::default()
        })?)),
        "rabbitmq" => Ok(BoxSource::new(RabbitMqSource::new(
            RabbitMqSourceSettings {
                url: url.into(),
                heartbeat: Duration::from_secs(2),
                queue: Some(name),
                create: true,
                ..RabbitMqSourceSettings::default()
            },
        )?)),
        other => panic!("no broker `{other}`"),
    }
}
