//! The connection of one subscription, and the requests to JetStream.

use async_nats::jetstream::Context;
use async_nats::jetstream::context::{ContextBuilder, RequestErrorKind};
use async_nats::jetstream::response::Response;
use async_nats::{Client, ClientError, Event};
use bento_relay::source::SourceError;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;

use super::super::link;
use super::NatsSourceSettings;
use crate::ConnectError;

/// A connection. The first time that it is lost is its end: a message that the client cannot read
/// ends it as well, and what was asked for before is lost with it.
pub(super) struct Line {
    pub(super) client: Client,
    context: Context,
    heard: watch::Receiver<Heard>,
    address: String,
}

/// The facts that the client told beside its answers.
#[derive(Clone, Debug, Default)]
struct Heard {
    is_cut: bool,
    said: Option<String>,
}

/// The answer of JetStream to a request.
pub(super) enum Answer<T> {
    Given(T),
    /// There is nothing of that name, or no such message.
    Missing,
}

impl Line {
    pub(super) async fn open(settings: &NatsSourceSettings) -> Result<Self, SourceError> {
        let address = settings.address();
        let connecting = Self::connect(settings, &address);
        let connected = tokio::time::timeout(settings.connect_timeout, connecting).await;
        let connected = connected.unwrap_or_else(|elapsed| {
            Err(ConnectError::Unreachable {
                address,
                source: elapsed.into(),
            })
        });
        connected.map_err(|error| {
            let what = "the source is not connected to NATS";
            let class = match &error {
                ConnectError::Unreachable { .. } => SourceError::unavailable(what),
                _ => SourceError::refused(what),
            };
            class.because(error)
        })
    }

    async fn connect(settings: &NatsSourceSettings, address: &str) -> Result<Self, ConnectError> {
        let (options, servers) = link::client(&settings.servers())?;
        let (told, heard) = watch::channel(Heard::default());
        let options = options.event_callback(move |event| {
            told.send_modify(|heard| match event {
                Event::Disconnected | Event::Closed => heard.is_cut = true,
                Event::ServerError(error) => heard.said = Some(error.to_string()),
                Event::ClientError(ClientError::Other(error)) => heard.said = Some(error),
                _ => {}
            });
            std::future::ready(())
        });
        let connected = options.connect(servers).await;
        let client = connected.map_err(|error| link::unconnected(address, error))?;
        let context = ContextBuilder::new()
            .timeout(settings.request_timeout)
            .build(client.clone());
        Ok(Self {
            client,
            context,
            heard,
            address: address.to_owned(),
        })
    }

    /// Waits for the end of the connection, and says it.
    pub(super) async fn cut(&self) -> SourceError {
        let mut heard = self.heard.clone();
        // The client keeps the sender; without it the connection has ended as well.
        let _ = heard.wait_for(|heard| heard.is_cut).await;
        self.unavailable("the connection to NATS was lost")
    }

    pub(super) fn is_cut(&self) -> bool {
        self.heard.borrow().is_cut
    }

    /// Asks JetStream. `what` says it in errors: `make the consumer`.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        subject: &str,
        body: &Value,
        what: &str,
    ) -> Result<Answer<T>, SourceError> {
        let asked = tokio::select! {
            biased;
            cut = self.cut() => return Err(cut),
            asked = self.context.request(subject.to_owned(), body) => asked,
        };
        match asked {
            Ok(Response::Ok(answer)) => Ok(Answer::Given(answer)),
            Ok(Response::Err { error }) if error.code() == 404 => Ok(Answer::Missing),
            Ok(Response::Err { error }) => {
                let text = format!("NATS at {} did not {what}: {error}", self.address);
                Err(match error.code() >= 500 {
                    true => SourceError::unavailable(text),
                    false => SourceError::refused(text),
                })
            }
            Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                Err(self.unavailable("JetStream does not answer at the moment"))
            }
            // Whoever may not ask gets no answer.
            Err(error) => Err(match self.violation(subject) {
                Some(refused) => refused,
                None => {
                    let text = format!("NATS at {} did not answer: {what}", self.address);
                    SourceError::unavailable(text).because(error)
                }
            }),
        }
    }

    /// The refusal, if the server said that the user may not use the subject.
    pub(super) fn violation(&self, subject: &str) -> Option<SourceError> {
        let said = self.heard.borrow().said.clone()?;
        let is_violation = said.to_lowercase().contains("permissions violation");
        is_violation.then(|| {
            SourceError::refused(format!(
                "the user of the source may not use `{subject}` at NATS at {} ({said}): give it \
                 the permissions that the documentation of `NatsSource` names",
                self.address
            ))
        })
    }

    pub(super) fn unavailable(&self, what: &str) -> SourceError {
        let said = self.heard.borrow().said.clone();
        let said = said.map(|said| format!(": {said}")).unwrap_or_default();
        SourceError::unavailable(format!("{what} at {}{said}", self.address))
    }
}
